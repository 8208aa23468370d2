//! The calls that are not builds, and calls that make no sense.

use kiln_protocol::control::{BytesMessage, InfoResponse};
use kiln_protocol::control::{DiskUsageRequest, InfoRequest, ListWorkersRequest, PruneRequest};
use kiln_protocol::health::HealthCheckRequest;
use kiln_protocol::health::health_check_response::ServingStatus;
use kiln_protocol::health::health_client::HealthClient;
use kiln_protocol::otlp_collector::ExportTraceServiceRequest;
use kiln_protocol::otlp_collector::trace_service_client::TraceServiceClient;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::llb;
use crate::process::Daemon;

#[tokio::test]
async fn a_new_daemon_answers() {
    let daemon = Daemon::start(&["--oci-worker-labels=a=b"]);
    let mut client = daemon.client().await;
    let info = client.info(InfoRequest {}).await.unwrap().into_inner();
    let version = info.buildkit_version.unwrap();
    assert!(version.version.starts_with("v0."), "{version:?}");

    let workers = client
        .list_workers(ListWorkersRequest::default())
        .await
        .unwrap();
    let [worker] = &workers.get_ref().record[..] else {
        panic!("{workers:?}");
    };
    assert_eq!(worker.labels["a"], "b");
    assert_eq!(
        worker.labels["org.mobyproject.buildkit.worker.executor"],
        "oci"
    );
    assert_eq!(
        worker.platforms[0],
        kiln_llb::platform::to_pb(&kiln_llb::platform::host())
    );
    assert_eq!(worker.gc_policy.len(), 4);
    let id = std::fs::read_to_string(daemon.path().join("root/workerid")).unwrap();
    assert_eq!(worker.id, id);

    let usage = client
        .disk_usage(DiskUsageRequest::default())
        .await
        .unwrap();
    assert!(usage.get_ref().record.is_empty(), "{usage:?}");
    let solved = client.solve(llb::solve("a", llb::file("content"))).await;
    solved.unwrap();
    let usage = client
        .disk_usage(DiskUsageRequest::default())
        .await
        .unwrap();
    assert_eq!(usage.get_ref().record.len(), 1, "{usage:?}");
    let all = PruneRequest {
        all: true,
        ..PruneRequest::default()
    };
    let mut removed = client.prune(all).await.unwrap().into_inner();
    let record = removed.message().await.unwrap().unwrap();
    assert_eq!(record.id, usage.get_ref().record[0].id);
    assert_eq!(removed.message().await.unwrap(), None);
}

#[tokio::test]
async fn health_and_traces_are_answered() {
    let daemon = Daemon::start(&[]);
    let channel = daemon.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let check = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    let answer = health.check(check("")).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    let error = health.check(check("nothing")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let mut watch = health.watch(check("")).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let mut traces = TraceServiceClient::new(channel);
    traces
        .export(ExportTraceServiceRequest::default())
        .await
        .unwrap();
}

/// Sends a message of one type to a method that expects another.
async fn call(channel: Channel, path: &'static str, data: &[u8]) -> Result<InfoResponse, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let message = BytesMessage {
        data: data.to_vec().into(),
    };
    let codec = ProstCodec::<BytesMessage, InfoResponse>::default();
    let answer = grpc.unary(
        Request::new(message),
        PathAndQuery::from_static(path),
        codec,
    );
    answer.await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn calls_without_sense_are_answered_with_the_right_code() {
    let daemon = Daemon::start(&[]);
    let channel = daemon.channel().await;
    let check = async |path: &'static str, data: &[u8], code: Code| {
        let error = call(channel.clone(), path, data).await.unwrap_err();
        assert_eq!(error.code(), code, "{path}: {error}");
    };
    check(
        "/moby.buildkit.v1.Control/NoSuchCall",
        b"",
        Code::Unimplemented,
    )
    .await;
    check("/moby.buildkit.v2.Other/Call", b"", Code::Unimplemented).await;
    // Field 1 is a text, which must be UTF-8.
    check(
        "/moby.buildkit.v1.Control/Solve",
        b"\xff\xfe",
        Code::Internal,
    )
    .await;
    let large = vec![b'a'; 17 << 20];
    check("/moby.buildkit.v1.Control/Solve", &large, Code::OutOfRange).await;
    let mut client = daemon.client().await;
    client.info(InfoRequest {}).await.unwrap();
}

#[tokio::test]
async fn the_debug_address_shows_numbers() {
    let daemon = Daemon::start(&["--debugaddr=127.0.0.1:0"]);
    let mut client = daemon.client().await;
    client
        .solve(llb::solve("a", llb::file("content")))
        .await
        .unwrap();
    let log = daemon.log();
    let address = log
        .split_once("debug handlers listening at tcp://")
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or_else(|| panic!("{log}"));
    let check = async |method: &str, path: &str, parts: &[&str]| {
        let answer = http(address, method, path).await;
        for part in parts {
            assert!(
                answer.contains(part),
                "{path}: {part:?} is missing in {answer}"
            );
        }
    };
    let numbers = [
        "200 OK",
        "buildkit_builds_total{status=\"success\",error_code=\"\"} 1",
        "buildkit_builds_steps_total{kind=\"completed\"} 1",
        "buildkit_build_duration_seconds_count{status=\"success\"} 1",
        "process_resident_memory_bytes ",
        "process_open_fds ",
    ];
    check("GET", "/metrics", &numbers).await;
    check("GET", "/debug/vars", &["200 OK", "\"builds\": 0"]).await;
    check("POST", "/debug/gc", &["200 OK"]).await;
    check(
        "GET",
        "/debug/pprof/heap",
        &["501 Not Implemented", "/debug/pprof"],
    )
    .await;
    check("GET", "/elsewhere", &["404 Not Found"]).await;
}

/// One request over HTTP 1.
async fn http(address: &str, method: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
