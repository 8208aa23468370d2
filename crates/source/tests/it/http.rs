//! Files of web servers.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use kiln_registry::{Client, ClientOptions};
use kiln_session::{Secrets, Session, SessionError};
use kiln_source::{HttpFile, HttpIdentifier, HttpSource, SourceError};
use kiln_store::Ref;
use kiln_testkit::web::{Fault, Page, WebServer};

use crate::Fixture;

const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

struct User {
    fixture: Fixture,
    source: HttpSource,
    server: WebServer,
    sessions: Vec<Session>,
}

/// What came of asking for a file.
struct Got {
    file: HttpFile,
    key: String,
    tree: Ref,
}

impl User {
    fn new() -> Self {
        let fixture = Fixture::new();
        let client = Client::new(ClientOptions::default()).unwrap();
        Self {
            source: HttpSource::new(fixture.store.clone(), client),
            fixture,
            server: WebServer::start().unwrap(),
            sessions: Vec::new(),
        }
    }

    fn identifier(&self, path: &str, attributes: &[(&str, &str)]) -> HttpIdentifier {
        let url = self.server.url(path);
        let rest = url.strip_prefix("http://").unwrap();
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let attributes: BTreeMap<String, String> = attributes.collect();
        HttpIdentifier::parse("http", rest, &attributes).unwrap()
    }

    async fn get(&self, path: &str, attributes: &[(&str, &str)]) -> Result<Got, SourceError> {
        let identifier = self.identifier(path, attributes);
        let quiet = || Arc::new(|_, _| {}) as kiln_source::DownloadProgress;
        let file = self
            .source
            .resolve(&identifier, &self.sessions, quiet())
            .await?;
        let snapshot = self
            .source
            .snapshot(&identifier, &file, &self.sessions, quiet());
        Ok(Got {
            key: file.cache_key(&identifier)?.key,
            tree: snapshot.await?,
            file,
        })
    }

    async fn fails(&self, path: &str, attributes: &[(&str, &str)]) -> String {
        match self.get(path, attributes).await {
            Ok(_) => panic!("{path} {attributes:?} was downloaded"),
            Err(error) => error.to_string(),
        }
    }
}

impl Got {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.tree.local_dir().unwrap().unwrap().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

#[tokio::test]
async fn a_file_comes_with_the_attributes_that_are_asked_for() {
    let user = User::new();
    user.server.serve(
        "/dir/f.txt",
        Page::new("text").header("Last-Modified", DATE),
    );
    let got = user.get("/dir/f.txt", &[]).await.unwrap();
    assert_eq!(got.text("f.txt"), "text");
    let found = got.path("f.txt").metadata().unwrap();
    assert_eq!(
        (found.mode() & 0o7777, found.uid(), found.gid()),
        (0o600, 0, 0)
    );
    assert_eq!(found.mtime(), 1_445_412_480);
    let attributes = [
        ("http.filename", "../g"),
        ("http.perm", "0755"),
        ("http.uid", "7"),
        ("http.gid", "8"),
    ];
    let got = user.get("/dir/f.txt", &attributes).await.unwrap();
    let found = got.path("g").metadata().unwrap();
    assert_eq!(
        (found.mode() & 0o7777, found.uid(), found.gid()),
        (0o755, 7, 8)
    );
}

/// The texts are those that BuildKit hashes.
#[tokio::test]
async fn keys_say_what_the_file_is() {
    let user = User::new();
    user.server.serve("/f", Page::new("text"));
    user.server
        .serve("/dated", Page::new("text").header("Last-Modified", DATE));
    let plain = user.get("/f", &[]).await.unwrap();
    let hash = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    assert_eq!(plain.file.digest.to_string(), hash);
    let text = format!(r#"{{"Filename":"f","Perm":0,"UID":0,"GID":0,"Checksum":"{hash}"}}"#);
    let digest = |text: &str| {
        use sha2::Digest as _;
        format!("sha256:{}", hex::encode(sha2::Sha256::digest(text)))
    };
    assert_eq!(plain.key, digest(&text));
    let dated = user
        .get("/dated", &[("http.header.accept", "a&b")])
        .await
        .unwrap();
    let text = format!(
        r#"{{"Filename":"dated","Perm":0,"UID":0,"GID":0,"Checksum":"{hash}","LastModTime":"{DATE}","Header":[{{"Name":"Accept","Value":"a\u0026b"}}]}}"#
    );
    assert_eq!(dated.key, digest(&text));
}

#[tokio::test]
async fn what_has_not_changed_is_not_fetched_again() {
    let user = User::new();
    let check = async |path: &str, page: Page, requests: &[&str]| {
        user.server.serve(path, page);
        user.server.requests();
        let got = user.get(path, &[]).await.unwrap();
        let expected: Vec<_> = requests.iter().map(|it| it.replace("PATH", path)).collect();
        assert_eq!(user.server.requests(), expected);
        got
    };
    for (path, name, old, new) in [
        ("/tagged", "ETag", "\"1\"", "\"2\""),
        ("/weak", "ETag", "W/\"1\"", "W/\"2\""),
    ] {
        let one = Page::new("one").header(name, old);
        let two = Page::new("two").header(name, new);
        let first = check(path, one.clone(), &["GET PATH 200"]).await;
        let asked = if old.starts_with('W') { 200 } else { 304 };
        let again = check(path, one, &[&format!("HEAD PATH {asked}")]).await;
        assert_eq!(first.tree.id(), again.tree.id());
        let changed = check(path, two, &["HEAD PATH 200", "GET PATH 200"]).await;
        assert_eq!(changed.text(&path[1..]), "two");
    }
    let one = Page::new("one").header("Last-Modified", DATE);
    let first = check("/dated", one.clone(), &["GET PATH 200"]).await;
    let again = check("/dated", one, &["GET PATH 304"]).await;
    assert_eq!(first.tree.id(), again.tree.id());
    for _ in 0..2 {
        check("/unnamed", Page::new("one"), &["GET PATH 200"]).await;
    }
}

#[tokio::test]
async fn checksums_spare_questions_and_catch_what_is_wrong() {
    let user = User::new();
    user.server.serve("/f", Page::new("text"));
    let right = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    user.get("/f", &[("http.checksum", right)]).await.unwrap();
    assert_eq!(user.server.requests(), ["GET /f 200"]);
    user.get("/f", &[("http.checksum", right)]).await.unwrap();
    assert!(user.server.requests().is_empty());
    let wrong = right.replace('9', "8");
    let error = user.fails("/f", &[("http.checksum", &wrong)]).await;
    assert!(
        error.contains(&format!("digest mismatch {right}: {wrong}")),
        "{error}"
    );
}

#[tokio::test]
async fn servers_that_fail_are_asked_again_or_told() {
    let user = User::new();
    let page = |fault| Page {
        fault,
        ..Page::new("text")
    };
    user.server.serve("/busy", page(Fault::Busy(2)));
    user.get("/busy", &[]).await.unwrap();
    let error = user.fails("/missing", &[]).await;
    assert!(error.starts_with("invalid response status 404"), "{error}");
    assert!(error.contains(&user.server.url("/missing")), "{error}");
    user.server.serve("/cut", page(Fault::Cut));
    let error = user.fails("/cut", &[]).await;
    assert!(error.contains("cannot download"), "{error}");
    // What is dropped is removed in the background.
    let kept = || user.fixture.store.disk_usage(&Default::default()).unwrap();
    let settled = async {
        while kept().len() != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(60), settled).await;
    settled.expect("only what came whole is kept");
}

struct OneSecret(&'static str, &'static str);

#[async_trait::async_trait]
impl Secrets for OneSecret {
    async fn secret(&self, id: &str) -> Result<Option<bytes::Bytes>, SessionError> {
        Ok((id == self.0).then(|| bytes::Bytes::from_static(self.1.as_bytes())))
    }
}

#[tokio::test]
async fn credentials_are_secrets_by_name_or_by_host() {
    let mut user = User::new();
    let protected = Page {
        authorization: Some("Bearer open".into()),
        ..Page::new("text")
    };
    user.server.serve("/f", protected);
    assert!(user.fails("/f", &[]).await.contains("status 401"));
    let named = [("http.authheadersecret", "mine")];
    let error = user.fails("/f", &named).await;
    assert!(
        error.contains("failed to retrieve HTTP auth secret mine"),
        "{error}"
    );
    for (id, value, attributes) in [
        ("HTTP_AUTH_TOKEN_127.0.0.1", "open\n", &[][..]),
        ("HTTP_AUTH_HEADER_127.0.0.1", "Bearer open", &[]),
        ("mine", "Bearer open", &named),
    ] {
        let secrets = Arc::new(OneSecret(id, value));
        user.sessions = vec![Session {
            secrets,
            ..Session::empty()
        }];
        user.get("/f", attributes).await.unwrap();
    }
}

#[test]
fn attributes_are_checked() {
    let check = |name: &str, value: &str, expected: &str| {
        let attributes = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = HttpIdentifier::parse("http", "host/f", &attributes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(
        "http.checksum",
        "sha256:12",
        "invalid http.checksum \"sha256:12\"",
    );
    check("http.perm", "rwx", "invalid http.perm \"rwx\"");
    check("http.uid", "-1", "invalid http.uid \"-1\"");
    check("http.sig.pubkey", "x", "requires both pubkey and signature");
    check(
        "http.sig.signature",
        "x",
        "requires both pubkey and signature",
    );
}
