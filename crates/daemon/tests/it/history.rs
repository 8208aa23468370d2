//! The history of builds, as clients of a daemon see it.

use kiln_protocol::content::content_client::ContentClient;
use kiln_protocol::content::{
    DeleteContentRequest, InfoRequest, ListContentRequest, ReadContentRequest, StatusRequest,
};
use kiln_protocol::control::BuildHistoryEventType::{Complete, Deleted, Started};
use kiln_protocol::control::control_client::ControlClient;
use kiln_protocol::control::{
    self, BuildHistoryEvent, BuildHistoryRecord, BuildHistoryRequest, StatusResponse,
    UpdateBuildHistoryRequest,
};
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::llb;
use crate::process::Daemon;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn listen(
    client: &mut ControlClient<Channel>,
    request: BuildHistoryRequest,
) -> Streaming<BuildHistoryEvent> {
    let answer = client.listen_build_history(request).await.unwrap();
    let clock = answer.metadata().get("buildkit-current-timestamp");
    assert!(clock.is_some(), "clients compare times by it");
    answer.into_inner()
}

/// All records there are.
async fn listed(client: &mut ControlClient<Channel>) -> Vec<BuildHistoryRecord> {
    let request = BuildHistoryRequest {
        early_exit: true,
        ..BuildHistoryRequest::default()
    };
    let mut events = listen(client, request).await;
    let mut records = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        assert_eq!(event.r#type(), Complete);
        records.push(event.record.unwrap());
    }
    records
}

fn pin(build: &str) -> UpdateBuildHistoryRequest {
    UpdateBuildHistoryRequest {
        r#ref: build.into(),
        pinned: true,
        ..UpdateBuildHistoryRequest::default()
    }
}

fn delete(build: &str) -> UpdateBuildHistoryRequest {
    UpdateBuildHistoryRequest {
        r#ref: build.into(),
        delete: true,
        ..UpdateBuildHistoryRequest::default()
    }
}

/// Reads a blob in pieces.
async fn read(content: &mut ContentClient<Channel>, request: ReadContentRequest) -> Vec<u8> {
    let mut chunks = content.read(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        bytes.extend(chunk.data);
    }
    bytes
}

fn whole(digest: &str) -> ReadContentRequest {
    ReadContentRequest {
        digest: digest.into(),
        ..ReadContentRequest::default()
    }
}

#[tokio::test]
async fn records_are_told_changed_and_removed() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client().await;
    let mut events = listen(&mut client, BuildHistoryRequest::default()).await;
    let mut next = async || {
        let event = events.message().await.unwrap().unwrap();
        (event.r#type(), event.record.unwrap())
    };
    let solve = llb::solve("first", llb::file("content"));
    client.solve(solve).await.unwrap();
    let internal = control::SolveRequest {
        internal: true,
        ..llb::solve("internal", llb::file("content"))
    };
    client.solve(internal).await.unwrap();
    let (kind, record) = next().await;
    assert_eq!((kind, record.r#ref.as_str()), (Started, "first"));
    let (kind, record) = next().await;
    assert_eq!((kind, record.r#ref.as_str()), (Complete, "first"));
    assert_eq!((record.num_total_steps, record.num_completed_steps), (1, 1));
    let attestations = record.result.unwrap().attestations;
    let kind = &attestations[0].annotations["in-toto.io/predicate-type"];
    assert_eq!(kind, "https://slsa.dev/provenance/v1");

    client.update_build_history(pin("first")).await.unwrap();
    let (kind, record) = next().await;
    assert_eq!(
        (kind, record.pinned, record.generation),
        (Complete, true, 1)
    );
    client.update_build_history(delete("first")).await.unwrap();
    let (kind, record) = next().await;
    assert_eq!((kind, record.r#ref.as_str()), (Deleted, "first"));
    assert_eq!(listed(&mut client).await, []);

    for (request, code) in [(pin("no"), Code::NotFound), (delete("no"), Code::NotFound)] {
        let error = client.update_build_history(request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    for request in [
        BuildHistoryRequest {
            limit: -1,
            ..BuildHistoryRequest::default()
        },
        BuildHistoryRequest {
            filter: vec!["startedAt>soon".into()],
            ..BuildHistoryRequest::default()
        },
    ] {
        let error = client.listen_build_history(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
}

#[tokio::test]
async fn blobs_of_records_can_be_read() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client().await;
    client
        .solve(llb::solve("a", llb::file("content")))
        .await
        .unwrap();
    let logs = listed(&mut client).await.remove(0).logs.unwrap();
    let mut content = ContentClient::new(daemon.channel().await);
    let info = InfoRequest {
        digest: logs.digest.clone(),
    };
    let info = content.info(info).await.unwrap().into_inner().info.unwrap();
    assert_eq!((info.digest, info.size), (logs.digest.clone(), logs.size));

    // A log is messages, each after its length.
    let bytes = read(&mut content, whole(&logs.digest)).await;
    assert_eq!(bytes.len() as i64, logs.size);
    let (length, rest) = bytes.split_first_chunk::<4>().unwrap();
    let first = StatusResponse::decode(&rest[..u32::from_le_bytes(*length) as usize]);
    assert_eq!(first.unwrap().vertexes.len(), 1);

    let part = ReadContentRequest {
        offset: 2,
        size: 3,
        ..whole(&logs.digest)
    };
    assert_eq!(read(&mut content, part).await, bytes[2..5]);
    let filter = ListContentRequest {
        filters: vec![format!("digest=={}", logs.digest)],
    };
    let mut list = content.list(filter).await.unwrap().into_inner();
    let found = list.message().await.unwrap().unwrap();
    assert_eq!(found.info.len(), 1);
}

#[tokio::test]
async fn the_content_service_only_reads() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client().await;
    client
        .solve(llb::solve("a", llb::file("content")))
        .await
        .unwrap();
    let logs = listed(&mut client).await.remove(0).logs.unwrap();
    let mut content = ContentClient::new(daemon.channel().await);
    let absent = format!("sha256:{}", "0".repeat(64));
    for (digest, code) in [
        (absent.as_str(), Code::NotFound),
        ("", Code::InvalidArgument),
        ("../../kiln.db", Code::InvalidArgument),
        ("sha256:../../../kiln.db", Code::InvalidArgument),
    ] {
        let error = content.read(whole(digest)).await.err();
        assert_eq!(error.unwrap().code(), code, "{digest}");
        let digest = digest.to_owned();
        let error = content.info(InfoRequest { digest }).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    for (offset, size, code) in [
        (logs.size + 1, 0, Code::OutOfRange),
        (-1, 0, Code::InvalidArgument),
        (0, -1, Code::InvalidArgument),
    ] {
        let request = ReadContentRequest {
            offset,
            size,
            ..whole(&logs.digest)
        };
        let error = content.read(request).await.err().unwrap();
        assert_eq!(error.code(), code, "{offset} {size}");
    }
    let digest = logs.digest.clone();
    let error = content.delete(DeleteContentRequest { digest }).await;
    assert_eq!(error.unwrap_err().message(), "read-only content store");
    let status = StatusRequest { r#ref: "a".into() };
    assert_eq!(
        content.status(status).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        read(&mut content, whole(&logs.digest)).await.len() as i64,
        logs.size
    );
}

#[tokio::test]
async fn finished_builds_are_replayed_and_survive_the_daemon() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client().await;
    let mut solve = tonic::Request::new(llb::solve("a", llb::file("content")));
    let parent = PARENT.parse().unwrap();
    solve.metadata_mut().insert("traceparent", parent);
    client.solve(solve).await.unwrap();
    let replay = async |client: &mut ControlClient<Channel>| {
        let request = control::StatusRequest { r#ref: "a".into() };
        let mut messages = client.status(request).await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await.unwrap() {
            all.push(message);
        }
        all
    };
    let before = replay(&mut client).await;
    assert!(!before.is_empty());
    let finalize = UpdateBuildHistoryRequest {
        r#ref: "a".into(),
        finalize: true,
        ..UpdateBuildHistoryRequest::default()
    };
    client.update_build_history(finalize).await.unwrap();
    let record = listed(&mut client).await.remove(0);
    let trace = record.trace.unwrap();
    let mut content = ContentClient::new(daemon.channel().await);
    let spans = read(&mut content, whole(&trace.digest)).await;
    let spans = String::from_utf8(spans).unwrap();
    assert!(
        spans.contains("0af7651916cd43dd8448eb211c80319c"),
        "{spans}"
    );

    let daemon = daemon.restart();
    let mut client = daemon.client().await;
    assert_eq!(replay(&mut client).await, before);
    assert_eq!(listed(&mut client).await[0].trace, Some(trace));
}
