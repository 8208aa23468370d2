//! Stores of a client.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::content::content_client::ContentClient;
use kiln_protocol::content::content_server::{Content, ContentServer};
use kiln_protocol::content::{self as wire, WriteAction};
use kiln_session::content::{export_store, read_blob, stream_of_bytes, stream_of_file};
use kiln_session::{BlobStream, LentLayout, RemoteContent, Services, SessionError};
use oci_spec::image::Digest;
use rstest::rstest;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::pair::{Pair, RawPair};

fn digest_of(bytes: &[u8]) -> Digest {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}").parse().expect("digest")
}

fn put(directory: &Path, bytes: &[u8]) -> Digest {
    let digest = digest_of(bytes);
    let folder = directory.join("blobs/sha256");
    fs::create_dir_all(&folder).expect("folder");
    fs::write(folder.join(digest.digest()), bytes).expect("blob");
    digest
}

fn blob_at(directory: &Path, digest: &Digest) -> std::path::PathBuf {
    directory.join("blobs/sha256").join(digest.digest())
}

/// Names of all files below `blobs/sha256`.
fn files(directory: &Path) -> Vec<String> {
    let folder = directory.join("blobs/sha256");
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.expect("entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

struct Setup {
    pair: Pair,
    folder: tempfile::TempDir,
}

impl Setup {
    /// Lends `oci:base` and a cache `local:cache`.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("dir");
        let stores = ["oci:base", "local:cache"].map(|id| (id.to_owned(), folder.path().join(id)));
        let pair = Pair::over_socket(
            folder.path(),
            Services {
                stores: BTreeMap::from(stores),
                ..Services::default()
            },
        )
        .await;
        Self { pair, folder }
    }

    fn store(&self, id: &str) -> Arc<dyn RemoteContent> {
        self.pair.remote.content(id).expect("store")
    }

    fn directory(&self, id: &str) -> std::path::PathBuf {
        self.folder.path().join(id)
    }
}

#[tokio::test]
async fn blobs_are_read_from_any_place() {
    let setup = Setup::new().await;
    let large: Vec<u8> = (0..5_000_000u32).map(|at| (at / 3) as u8).collect();
    let digest = put(&setup.directory("oci:base"), &large);
    let empty = put(&setup.directory("oci:base"), b"");
    let store = setup.store("oci:base");
    assert_eq!(
        store.size(&digest).await.expect("size"),
        Some(large.len() as u64)
    );
    assert!(read_blob(&*store, &digest, 5_000_000).await.expect("read") == large);
    assert_eq!(read_blob(&*store, &empty, 0).await.expect("read"), b"");
    let mut tail = store.read(&digest, 4_999_990).await.expect("read");
    let piece = tail.next().await.expect("piece").expect("bytes");
    assert_eq!(piece, large[4_999_990..]);
    assert!(tail.next().await.is_none());
    let missing = digest_of(b"missing");
    assert_eq!(store.size(&missing).await.expect("size"), None);
    let error = read_blob(&*store, &digest, 4_999_999)
        .await
        .expect_err("limit");
    assert!(
        error.to_string().contains("larger than 4999999 bytes"),
        "{error}"
    );
    let past = store
        .read(&digest, 5_000_001)
        .await
        .err()
        .expect("past its end");
    assert!(
        past.to_string().contains("read past object length"),
        "{past}"
    );
}

#[tokio::test]
async fn sessions_lend_layouts_and_caches() {
    let setup = Setup::new().await;
    let digest = put(&setup.directory("local:cache"), b"cached");
    let files = setup.pair.remote.session().files;
    let LentLayout::Remote(cache) = files.cache("cache").await.expect("cache") else {
        panic!("it is with the client")
    };
    assert_eq!(cache.size(&digest).await.expect("size"), Some(6));
    let LentLayout::Remote(other) = files.oci_layout("other").await.expect("layout") else {
        panic!("it is with the client")
    };
    let error = other.size(&digest).await.expect_err("not lent").to_string();
    assert!(error.contains("unknown store oci:other"), "{error}");
    let none = Pair::new(Services::default()).await;
    let store = none.remote.content("export").expect("store");
    let error = store.size(&digest).await.expect_err("no service");
    assert!(matches!(error, SessionError::NotServed { .. }), "{error}");
}

#[tokio::test]
async fn blobs_are_written_and_checked() {
    let setup = Setup::new().await;
    let directory = setup.directory("local:cache");
    let store = setup.store("local:cache");
    let large = vec![42; 3_500_001];
    let source = setup.folder.path().join("source");
    fs::write(&source, &large).expect("source");
    let open = || stream_of_file(fs::File::open(&source).expect("open"));
    let digest = digest_of(&large);
    let size = large.len() as u64;
    store.write(&digest, size, open()).await.expect("write");
    assert!(fs::read(blob_at(&directory, &digest)).expect("blob") == large);
    // It is there, so nobody reads what is offered.
    let broken = futures::stream::once(async { panic!("nobody reads this") }).boxed();
    store
        .write(&digest, size, broken)
        .await
        .expect("there already");
    let empty = digest_of(b"");
    store
        .write(&empty, 0, stream_of_bytes(Bytes::new()))
        .await
        .expect("empty");
    assert_eq!(fs::read(blob_at(&directory, &empty)).expect("blob"), b"");
    assert_eq!(files(&directory).len(), 2, "nothing else is left");
}

#[derive(Debug, Clone, Copy)]
enum Lie {
    Digest,
    TooShort,
    TooLong,
    BreaksOff,
}

#[rstest]
#[case(Lie::Digest, "unexpected commit digest")]
#[case(Lie::TooShort, "unexpected commit size 9, expected 10")]
#[case(Lie::TooLong, "more than the 10 bytes that were announced")]
#[case(Lie::BreaksOff, "the disk is gone")]
#[tokio::test]
async fn what_is_wrong_is_not_kept(#[case] lie: Lie, #[case] expected: &str) {
    let setup = Setup::new().await;
    let store = setup.store("local:cache");
    let digest = digest_of(b"0123456789");
    let bytes = |text: &'static [u8]| stream_of_bytes(Bytes::from_static(text));
    let data: BlobStream = match lie {
        Lie::Digest => bytes(b"012345678X"),
        Lie::TooShort => bytes(b"012345678"),
        Lie::TooLong => bytes(b"0123456789+"),
        Lie::BreaksOff => futures::stream::iter([
            Ok(Bytes::from_static(b"0123")),
            Err(SessionError::Provider {
                what: "blob".into(),
                message: "the disk is gone".into(),
            }),
        ])
        .boxed(),
    };
    let error = store
        .write(&digest, 10, data)
        .await
        .expect_err("a lie")
        .to_string();
    assert!(error.contains(expected), "{error}");
    let directory = setup.directory("local:cache");
    while !files(&directory).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lent_layout_is_for_reading() {
    let setup = Setup::new().await;
    let store = setup.store("oci:base");
    let data = stream_of_bytes(Bytes::from_static(b"new"));
    let error = store
        .write(&digest_of(b"new"), 3, data)
        .await
        .expect_err("read only");
    assert!(error.to_string().contains("for reading only"), "{error}");
}

#[test]
fn outputs_have_stores_of_their_own() {
    assert_eq!(
        [0, 1, 2].map(export_store),
        ["export", "export:1", "export:2"]
    );
}

/// A client of the service itself, as containerd's is one.
async fn raw(folder: &Path) -> (ContentClient<Channel>, RawPair) {
    let stores = ["oci:base", "local:cache"].map(|id| (id.to_owned(), folder.join(id)));
    let pair = RawPair::new(Services {
        stores: BTreeMap::from(stores),
        ..Services::default()
    })
    .await;
    (ContentClient::new(pair.channel.clone()), pair)
}

fn to_store<T>(id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = id.parse().expect("header");
    request
        .metadata_mut()
        .insert("buildkit-attachable-store-id", id);
    request
}

fn message(action: WriteAction, offset: i64, data: &'static [u8]) -> wire::WriteContentRequest {
    wire::WriteContentRequest {
        action: action.into(),
        r#ref: "layer".into(),
        offset,
        data: Bytes::from_static(data),
        ..wire::WriteContentRequest::default()
    }
}

/// All answers up to the end, or the error.
async fn write(
    client: &mut ContentClient<Channel>,
    messages: Vec<wire::WriteContentRequest>,
) -> Result<Vec<wire::WriteContentResponse>, Status> {
    let request = to_store("local:cache", futures::stream::iter(messages));
    let mut inbound = client.write(request).await?.into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = inbound.message().await? {
        answers.push(answer);
    }
    Ok(answers)
}

#[tokio::test]
async fn the_service_writes_as_containerd_does() {
    let folder = tempfile::tempdir().expect("dir");
    let (mut client, _pair) = raw(folder.path()).await;
    let answers = write(
        &mut client,
        vec![
            message(WriteAction::Stat, 0, b""),
            message(WriteAction::Write, 0, b"abc"),
            message(WriteAction::Write, 3, b"def"),
            message(WriteAction::Commit, 6, b"g"),
        ],
    )
    .await
    .expect("answers");
    let offsets: Vec<_> = answers.iter().map(|answer| answer.offset).collect();
    assert_eq!(offsets, [0, 3, 6, 7]);
    let digest = digest_of(b"abcdefg");
    assert_eq!(answers[3].digest, digest.to_string());
    let again = wire::WriteContentRequest {
        expected: digest.to_string(),
        ..message(WriteAction::Stat, 0, b"")
    };
    let error = write(&mut client, vec![again]).await.expect_err("exists");
    assert_eq!(error.code(), Code::AlreadyExists);
    let listed = client
        .list(to_store("local:cache", wire::ListContentRequest::default()))
        .await;
    let listed = listed.expect("list").into_inner().message().await;
    let listed = listed.expect("message").expect("infos").info;
    assert_eq!((listed.len(), listed[0].size), (1, 7));
    assert_eq!(listed[0].digest, digest.to_string());
}

#[rstest]
#[case::no_ref(&["", "", "0"], Code::InvalidArgument, "must have a reference")]
#[case::bad_digest(&["layer", "sha256:../../x", "0"], Code::InvalidArgument, "failed validation")]
#[case::other_hash(&["layer", "blake3:abcd", "0"], Code::InvalidArgument, "")]
#[case::gap(&["layer", "", "5"], Code::OutOfRange, "must occur at current offset 0")]
#[tokio::test]
async fn wrong_writes_are_refused(
    #[case] first: &[&str; 3],
    #[case] code: Code,
    #[case] text: &str,
) {
    let [reference, expected, offset] = first;
    let folder = tempfile::tempdir().expect("dir");
    let (mut client, _pair) = raw(folder.path()).await;
    let first = wire::WriteContentRequest {
        r#ref: (*reference).to_owned(),
        expected: (*expected).to_owned(),
        offset: offset.parse().expect("number"),
        ..message(WriteAction::Write, 0, b"data")
    };
    let error = write(&mut client, vec![first]).await.expect_err("refused");
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(text), "{error}");
    assert!(files(&folder.path().join("local:cache")).is_empty());
}

#[tokio::test]
async fn builds_do_not_change_what_is_there() {
    let folder = tempfile::tempdir().expect("dir");
    let (mut client, _pair) = raw(folder.path()).await;
    let digest = put(&folder.path().join("local:cache"), b"mine").to_string();
    let id = "local:cache";
    let delete = wire::DeleteContentRequest {
        digest: digest.clone(),
    };
    let update = wire::UpdateRequest::default();
    let status = wire::StatusRequest::default();
    let filtered = wire::ListContentRequest {
        filters: vec!["size>1".into()],
    };
    let info = wire::InfoRequest { digest };
    let codes = [
        client
            .delete(to_store(id, delete))
            .await
            .err()
            .map(|error| error.code()),
        client
            .update(to_store(id, update))
            .await
            .err()
            .map(|error| error.code()),
        client
            .status(to_store(id, status))
            .await
            .err()
            .map(|error| error.code()),
        client
            .list(to_store(id, filtered))
            .await
            .err()
            .map(|error| error.code()),
        client
            .info(Request::new(info.clone()))
            .await
            .err()
            .map(|error| error.code()),
        client
            .info(to_store("other", info.clone()))
            .await
            .err()
            .map(|error| error.code()),
        client
            .info(to_store(id, info))
            .await
            .err()
            .map(|error| error.code()),
    ];
    let expected = [
        Some(Code::PermissionDenied),
        Some(Code::FailedPrecondition),
        Some(Code::NotFound),
        Some(Code::Unimplemented),
        Some(Code::InvalidArgument),
        Some(Code::NotFound),
        None,
    ];
    assert_eq!(codes, expected);
}

/// A client whose store lies.
struct Liar;

type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl Content for Liar {
    type ListStream = Answers<wire::ListContentResponse>;
    type ReadStream = Answers<wire::ReadContentResponse>;
    type WriteStream = Answers<wire::WriteContentResponse>;

    async fn info(
        &self,
        request: Request<wire::InfoRequest>,
    ) -> Result<Response<wire::InfoResponse>, Status> {
        let store = request.metadata().get("buildkit-attachable-store-id");
        let mut info = wire::Info {
            digest: request.get_ref().digest.clone(),
            ..wire::Info::default()
        };
        match store.and_then(|store| store.to_str().ok()) {
            Some("negative") => info.size = -1,
            Some("other") => info.digest = "sha256:other".into(),
            _ => return Err(Status::not_found("nothing here")),
        }
        Ok(Response::new(wire::InfoResponse { info: Some(info) }))
    }

    async fn read(
        &self,
        _: Request<wire::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let endless = futures::stream::repeat_with(|| {
            Ok(wire::ReadContentResponse {
                data: Bytes::from_static(&[0; 4096]),
                ..wire::ReadContentResponse::default()
            })
        });
        Ok(Response::new(endless.boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<wire::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let store = request
            .metadata()
            .get("buildkit-attachable-store-id")
            .cloned();
        let answer = wire::WriteContentResponse {
            action: WriteAction::Commit.into(),
            digest: "sha256:other".into(),
            ..wire::WriteContentResponse::default()
        };
        let answers = match store.as_ref().and_then(|store| store.to_str().ok()) {
            Some("silent") => Vec::new(),
            Some("lazy") => vec![Ok(wire::WriteContentResponse::default())],
            _ => vec![Ok(answer)],
        };
        Ok(Response::new(futures::stream::iter(answers).boxed()))
    }

    async fn list(
        &self,
        _: Request<wire::ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn abort(&self, _: Request<wire::AbortRequest>) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn list_statuses(
        &self,
        _: Request<wire::ListStatusesRequest>,
    ) -> Result<Response<wire::ListStatusesResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn update(
        &self,
        _: Request<wire::UpdateRequest>,
    ) -> Result<Response<wire::UpdateResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn delete(&self, _: Request<wire::DeleteContentRequest>) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("no"))
    }
}

#[rstest]
#[case("negative", "its size cannot be -1")]
#[case("other", "the client spoke of \"sha256:other\"")]
#[case("silent", "the client did not answer")]
#[case("lazy", "the client did not commit it")]
#[case(
    "false",
    "the client committed 0 bytes of \"sha256:other\" instead of 4"
)]
#[tokio::test]
async fn the_daemon_does_not_trust_stores(#[case] id: &str, #[case] expected: &str) {
    let routes = Routes::new(ContentServer::new(Liar));
    let methods = ["/containerd.services.content.v1.Content/Info"];
    let pair = Pair::with_routes(routes, &methods).await;
    let store = pair.remote.content(id).expect("store");
    let data = stream_of_bytes(Bytes::from_static(b"data"));
    let digest = digest_of(b"data");
    let error = store
        .write(&digest, 4, data)
        .await
        .expect_err("a lie")
        .to_string();
    assert!(error.contains(expected), "{error}");
    let error = read_blob(&*store, &digest, 100_000)
        .await
        .expect_err("endless");
    assert!(
        error.to_string().contains("larger than 100000 bytes"),
        "{error}"
    );
}
