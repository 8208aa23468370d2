//! Git repositories, served by git's own server.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kiln_session::{Secrets, Session, SessionError};
use kiln_source::git::GitModes;
use kiln_source::{GitIdentifier, GitLog, GitRevision, GitSource, SourceError};
use kiln_store::Ref;
use kiln_testkit::git::{Repository, TIME};
use kiln_testkit::web::WebServer;

use crate::{Fixture, git_source};

type Attributes<'a> = &'a [(&'a str, &'a str)];

/// A place for a bundle.
const BUNDLE: &str = "docker-image+blob://a/b@sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";

const KEPT: Attributes<'_> = &[("git.keepgitdir", "true")];
const WITHOUT_SUBMODULES: Attributes<'_> = &[("git.skipsubmodules", "true")];

struct User {
    fixture: Fixture,
    source: GitSource,
    server: WebServer,
    sessions: Vec<Session>,
    said: Arc<Mutex<String>>,
}

/// What came of asking for a revision.
struct Got {
    revision: GitRevision,
    key: String,
    tree: Ref,
}

impl User {
    fn new() -> Self {
        let fixture = Fixture::new();
        let server = WebServer::start().unwrap();
        server.serve_repositories("/git/", &fixture.directory("served"), None);
        server.serve_repositories("/closed/", &fixture.directory("served"), Some(OPEN));
        Self {
            source: git_source(&fixture),
            fixture,
            server,
            sessions: Vec::new(),
            said: Arc::default(),
        }
    }

    fn repository(&self, name: &str) -> Repository {
        self.repository_with(name, &[])
    }

    fn repository_with(&self, name: &str, options: &[&str]) -> Repository {
        Repository::new(self.fixture.directory("served").join(name), options)
    }

    fn identifier(
        &self,
        place: &str,
        attributes: Attributes<'_>,
    ) -> Result<GitIdentifier, SourceError> {
        let url = self.server.url(&format!("/{place}"));
        let remote = url.split('#').next().unwrap().to_owned();
        let fixed = [
            ("git.fullurl", remote.as_str()),
            ("git.authtokensecret", "GIT_AUTH_TOKEN"),
            ("git.authheadersecret", "GIT_AUTH_HEADER"),
        ];
        let attributes = fixed.iter().chain(attributes);
        let attributes = attributes.map(|(name, value)| ((*name).into(), (*value).into()));
        let attributes: BTreeMap<String, String> = attributes.collect();
        GitIdentifier::parse(url.strip_prefix("http://").unwrap(), &attributes)
    }

    async fn get(&self, place: &str, attributes: Attributes<'_>) -> Result<Got, SourceError> {
        self.get_as(&self.identifier(place, attributes)?).await
    }

    async fn get_as(&self, identifier: &GitIdentifier) -> Result<Got, SourceError> {
        let (source, sessions) = (&self.source, self.sessions.as_slice());
        let revision = source.resolve(identifier, sessions, self.log()).await?;
        let tree = source
            .snapshot(identifier, &revision, sessions, self.log())
            .await?;
        Ok(Got {
            key: revision.cache_key(identifier).key,
            revision,
            tree,
        })
    }

    async fn fails(&self, place: &str, attributes: Attributes<'_>) -> String {
        match self.get(place, attributes).await {
            Ok(_) => panic!("{place} {attributes:?} was fetched"),
            Err(error) => kiln_source_chain(&error),
        }
    }

    fn log(&self) -> GitLog {
        let said = self.said.clone();
        Arc::new(move |_, data| {
            said.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&data))
        })
    }

    /// How often packs were fetched since the last call.
    fn fetches(&self) -> usize {
        let requests = self.server.requests();
        let packs = requests.iter().filter(|it| it.starts_with("POST"));
        // Protocol 2 lists references by a request of its own.
        packs.count()
    }
}

fn kiln_source_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

impl Got {
    fn path(&self, name: &str) -> PathBuf {
        self.tree.local_dir().unwrap().unwrap().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

/// A repository with branches and tags; the names of its commits and of its annotated tag.
fn history(repository: &Repository) -> [String; 3] {
    let first = repository.commit(&[("f", "one"), ("sub/g", "in sub")]);
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "--annotate", "--message=tag", "v1"]);
    repository.git(&["branch", "old/name"]);
    let second = repository.commit(&[("f", "two")]);
    [first, second, repository.git(&["rev-parse", "v1"])]
}

/// The keys are BuildKit's.
#[tokio::test]
async fn references_stand_for_commits() {
    let user = User::new();
    let [first, second, tag] = history(&user.repository("a.git"));
    let check = async |fragment: &str, attributes, text: &str, key: &str, pin: &str| {
        let got = user
            .get(&format!("git/a.git{fragment}"), attributes)
            .await
            .unwrap();
        let found = if fragment.ends_with("sub") { "g" } else { "f" };
        assert_eq!(got.text(found), text, "{fragment}");
        assert_eq!(got.key, key, "{fragment}");
        assert_eq!(got.revision.checksum, pin, "{fragment}");
    };
    check("", &[], "two", &second, &second).await;
    check("#main", &[], "two", &second, &second).await;
    check("#refs/heads/main", &[], "two", &second, &second).await;
    check("#old/name", &[], "one", &first, &first).await;
    check("#light", &[], "one", &first, &first).await;
    check("#v1", &[], "one", &first, &tag).await;
    check("#refs/tags/v1", &[], "one", &first, &tag).await;
    check("#tags/v1", &[], "one", &tag, &tag).await;
    check(&format!("#{first}"), &[], "one", &first, &first).await;
    check(&format!("#{tag}"), &[], "one", &tag, &tag).await;
    let key = format!("{second}:sub");
    check("#main:sub", &[], "in sub", &key, &second).await;
    let key = format!("{first}:sub(skip-submodules)");
    check("#v1:sub", WITHOUT_SUBMODULES, "in sub", &key, &tag).await;
    let key = format!("{tag}.git#refs/tags/v1");
    check("#v1", KEPT, "one", &key, &tag).await;
    let key = format!("{second}.git#refs/heads/main");
    check("", KEPT, "two", &key, &second).await;
    let key = format!("{first}.git#{first}");
    check(&format!("#{first}"), KEPT, "one", &key, &first).await;
    let key = format!("{second}(mtime=commit)");
    check("", &[("git.mtime", "commit")], "two", &key, &second).await;
    let by_commit = [
        ("git.fetchbycommit", "true"),
        ("git.checksum", first.as_str()),
    ];
    check("#gone", &by_commit, "one", &first, &first).await;
}

#[tokio::test]
async fn only_what_is_new_is_fetched() {
    let user = User::new();
    let repository = user.repository("a.git");
    let [first, ..] = history(&repository);
    let one = user.get("git/a.git", &[]).await.unwrap();
    assert!(user.fetches() > 1);
    let again = user.get("git/a.git", &[]).await.unwrap();
    assert_eq!(again.tree.id(), one.tree.id());
    assert_eq!(user.fetches(), 1, "the reference is asked for");
    // Another part of a commit that is here.
    user.get(&format!("git/a.git#{}:sub", one.revision.checksum), &[])
        .await
        .unwrap();
    assert_eq!(user.fetches(), 0);
    user.get(&format!("git/a.git#{first}"), &[]).await.unwrap();
    // The branch is set back, and becomes a directory of branches.
    repository.git(&["reset", "--quiet", "--hard", &first]);
    let third = repository.commit(&[("f", "three")]);
    assert_eq!(user.get("git/a.git", &[]).await.unwrap().key, third);
    repository.git(&["branch", "--quiet", "--move", "old/name", "old-name"]);
    repository.git(&["branch", "--quiet", "old"]);
    assert_eq!(user.get("git/a.git#old", &[]).await.unwrap().key, third);
}

#[tokio::test]
async fn builds_at_the_same_time_fetch_once() {
    let user = User::new();
    history(&user.repository("a.git"));
    let places = ["git/a.git", "git/a.git#main", "git/a.git#main:sub"];
    let got = futures::future::join_all(places.map(|place| user.get(place, &[]))).await;
    assert!(got.iter().all(Result::is_ok));
    let usage = user.fixture.store.disk_usage(&Default::default()).unwrap();
    let shared = usage
        .iter()
        .filter(|it| it.description.starts_with("shared git repo for http"));
    assert_eq!(shared.count(), 1);
}

#[tokio::test]
async fn what_a_killed_process_left_is_no_obstacle() {
    let user = User::new();
    let repository = user.repository("a.git");
    history(&repository);
    user.get("git/a.git", &[]).await.unwrap();
    let trees = user.fixture.dir.path().join("root");
    let find = |name: &str| {
        let found = std::process::Command::new("find")
            .args([
                trees.to_str().unwrap(),
                "-name",
                name,
                "-path",
                "*/refs/kept/*",
            ])
            .output()
            .unwrap();
        PathBuf::from(
            String::from_utf8(found.stdout)
                .unwrap()
                .lines()
                .next()
                .unwrap(),
        )
    };
    let reference = find("sha256-*");
    std::fs::write(reference.with_extension("lock"), "").unwrap();
    std::fs::write(
        reference.ancestors().nth(3).unwrap().join("shallow.lock"),
        "",
    )
    .unwrap();
    let third = repository.commit(&[("f", "three")]);
    assert_eq!(user.get("git/a.git", &[]).await.unwrap().key, third);
}

#[tokio::test]
async fn a_repository_is_kept_if_that_is_asked_for() {
    let user = User::new();
    let [first, ..] = history(&user.repository("a.git"));
    let got = user.get("git/a.git#v1", KEPT).await.unwrap();
    let copy = Repository::at(got.path(""));
    assert_eq!(copy.git(&["status", "--porcelain"]), "");
    assert_eq!(copy.git(&["rev-parse", "HEAD"]), first);
    assert_eq!(copy.git(&["describe", "--tags"]), "v1");
    assert_eq!(
        copy.git(&["remote", "get-url", "origin"]),
        user.server.url("/git/a.git")
    );
    assert!(!got.path(".git/hooks").exists());
    let plain = user.get("git/a.git#v1", &[]).await.unwrap();
    assert_eq!(plain.names(""), ["f", "sub"]);
    // There is no repository of a part.
    let part = user.get("git/a.git#v1:sub", KEPT).await.unwrap();
    assert_eq!(part.names(""), ["g"]);
}

#[tokio::test]
async fn files_have_modes_and_times() {
    let user = User::new();
    let repository = user.repository("a.git");
    repository.commit(&[("d/run", "x"), ("d/read", "x")]);
    repository.git(&["update-index", "--chmod=+x", "d/run"]);
    std::os::unix::fs::symlink("read", repository.path().join("d/link")).unwrap();
    repository.git(&["add", "d/link"]);
    repository.git(&["commit", "--quiet", "--message=modes"]);
    let commit: Attributes<'_> = &[("git.mtime", "commit")];
    for place in ["git/a.git", "git/a.git#main:d"] {
        let got = user.get(place, commit).await.unwrap();
        let directory = if place.ends_with('d') { "" } else { "d/" };
        for (name, mode) in [("run", 0o755), ("read", 0o644), ("", 0o755)] {
            let found = got.path(&format!("{directory}{name}")).metadata().unwrap();
            assert_eq!(
                (found.mode() & 0o777, found.mtime()),
                (mode, TIME),
                "{name}"
            );
        }
        let link = got
            .path(&format!("{directory}link"))
            .symlink_metadata()
            .unwrap();
        assert_eq!(link.mtime(), TIME);
    }
    let got = user.get("git/a.git", &[]).await.unwrap();
    assert!(got.path("d/read").metadata().unwrap().mtime() > TIME);
}

#[tokio::test]
async fn checksums_are_compared() {
    let user = User::new();
    let [first, second, tag] = history(&user.repository("a.git"));
    for (fragment, checksum) in [
        ("#main", second.as_str()),
        ("", &second[..7]),
        ("#v1", &tag),
        ("#v1", &first[..10]),
        (&format!("#{first}"), &first[..4]),
    ] {
        let place = format!("git/a.git{fragment}");
        user.get(&place, &[("git.checksum", checksum)])
            .await
            .unwrap();
    }
    for (fragment, checksum, actual) in [
        ("#main", first.as_str(), second.clone()),
        ("#v1", &second, format!("{tag} or {first}")),
        (&format!("#{first}"), &second, first.clone()),
    ] {
        let place = format!("git/a.git{fragment}");
        let error = user.fails(&place, &[("git.checksum", checksum)]).await;
        let expected = format!("expected checksum to match {checksum}, got {actual}");
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains(&user.server.url("/git/a.git")), "{error}");
    }
}

#[tokio::test]
async fn repositories_may_use_sha256() {
    let user = User::new();
    let [first, second, _] = history(&user.repository_with("a.git", &["--object-format=sha256"]));
    assert_eq!(user.get("git/a.git", &[]).await.unwrap().key, second);
    let got = user.get(&format!("git/a.git#{first}"), KEPT).await.unwrap();
    assert_eq!(got.text("f"), "one");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let user = User::new();
    let repository = user.repository("a.git");
    history(&repository);
    std::os::unix::fs::symlink("sub", repository.path().join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", repository.path().join("out")).unwrap();
    repository.commit(&[]);
    user.repository("empty.git");
    let missing = "0123456789012345678901234567890123456789";
    for (place, expected) in [
        ("git/a.git#gone", "repository does not contain ref gone"),
        (
            "git/empty.git",
            "could not find default branch for repository",
        ),
        ("git/none.git", "failed to fetch"),
        (&format!("git/a.git#{missing}"), "does not give commit 0123"),
        ("git/a.git#main:none/x", "\"none\" does not exist"),
        ("git/a.git#main:f", "\"f\" is no directory"),
        ("git/a.git#main:link", "\"link\" is no directory"),
        ("git/a.git#main:out/ssl", "\"out\" is no directory"),
        ("git/a.git#main:.git", "is no directory of a repository"),
    ] {
        let error = user.fails(place, &[]).await;
        assert!(error.contains(expected), "{place}: {error}");
        let repository = place.split('#').next().unwrap();
        assert!(
            error.contains(&user.server.url(&format!("/{repository}"))),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_directory_never_leads_out_of_the_repository() {
    let user = User::new();
    history(&user.repository("a.git"));
    let got = user.get("git/a.git#main:../../sub", &[]).await.unwrap();
    assert_eq!(got.names(""), ["g"]);
}

#[tokio::test]
async fn attributes_are_checked() {
    let user = User::new();
    for (fragment, attributes, expected) in [
        (
            "#--upload-pack=x",
            &[][..],
            "invalid git ref \"--upload-pack=x\"",
        ),
        (
            "",
            &[("git.checksum", "xyz")],
            "invalid checksum xyz for Git URL",
        ),
        ("", &[("git.mtime", "now")], "invalid git.mtime \"now\""),
        (
            "",
            &[("git.fetchbycommit", "true")],
            "fetch-by-commit requires a checksum",
        ),
        (
            "",
            &[("git.fetchbycommit", "true"), ("git.checksum", "abc")],
            "requires a full commit",
        ),
        (
            "",
            &[("git.bundle", "x")],
            "failed to parse git.bundle locator \"x\": it has no scheme",
        ),
        (
            "",
            &[("git.bundle", "https://x")],
            "scheme \"https\" is not supported",
        ),
        (
            "",
            &[("git.bundle", "docker-image+blob://a/b:c")],
            "a blob is named by its digest",
        ),
        (
            "",
            &[("git.bundle", BUNDLE)],
            "git.bundle requires git.checksum",
        ),
        (
            "",
            &[("git.bundle", BUNDLE), ("git.checksum", "abc")],
            "requires a full commit",
        ),
        (
            "",
            &[("git.checkoutbundle", "true"), ("git.keepgitdir", "true")],
            "git.checkoutbundle is incompatible with git.keepgitdir",
        ),
        (
            "#main:sub",
            &[("git.checkoutbundle", "true")],
            "git.checkoutbundle is incompatible with git.subdir",
        ),
        (
            "",
            &[("git.sig.rejectexpired", "true")],
            "needs the keys that are trusted",
        ),
        (
            "",
            &[
                ("git.sig.pubkey", "x"),
                ("git.sig.ignoresignedtag", "true"),
                ("git.sig.requiresignedtag", "true"),
            ],
            "contradict each other",
        ),
    ] {
        let place = format!("git/a.git{fragment}");
        let error = user.identifier(&place, attributes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let file = GitIdentifier::parse("file:///etc", &BTreeMap::new());
    assert!(
        !file.unwrap().remote.starts_with("file:"),
        "no protocol but those of the network"
    );
}

#[tokio::test]
async fn modes_may_be_those_of_earlier_times() {
    let user = User::new();
    let repository = user.repository("a.git");
    std::fs::write(repository.path().join("program"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(repository.path().join("program"), mode).unwrap();
    repository.commit(&[("sub/f", "text")]);
    let usual = user.identifier("git/a.git", &[]).unwrap();
    let open = GitIdentifier {
        modes: GitModes::Open,
        ..usual.clone()
    };
    for (identifier, expected) in [(&usual, 0o644), (&open, 0o666)] {
        let got = user.get_as(identifier).await.unwrap();
        let mode = |name| got.path(name).metadata().unwrap().mode() & 0o7777;
        assert_eq!(
            (mode("sub/f"), mode("program"), mode("sub")),
            (expected, 0o755, 0o755)
        );
    }
}

/// The header of [`TOKEN`].
const OPEN: &str = "Basic eC1hY2Nlc3MtdG9rZW46c2VzYW1l";
const TOKEN: &str = "sesame";

struct OneSecret(String, &'static str);

#[async_trait::async_trait]
impl Secrets for OneSecret {
    async fn secret(&self, id: &str) -> Result<Option<bytes::Bytes>, SessionError> {
        Ok((id == self.0).then(|| bytes::Bytes::from_static(self.1.as_bytes())))
    }
}

#[tokio::test]
async fn credentials_are_secrets_or_of_the_address() {
    let mut user = User::new();
    history(&user.repository("a.git"));
    let error = user.fails("closed/a.git", &[]).await;
    assert!(error.contains("could not read Username"), "{error}");
    let host = user.server.url("").replace("http://", "");
    for (id, value) in [
        ("GIT_AUTH_TOKEN".to_owned(), "sesame\n"),
        (format!("GIT_AUTH_TOKEN.{host}"), TOKEN),
        ("GIT_AUTH_HEADER".to_owned(), OPEN),
        (format!("GIT_AUTH_HEADER.{host}"), OPEN),
    ] {
        let secrets = Arc::new(OneSecret(id, value));
        user.sessions = vec![Session {
            secrets,
            ..Session::empty()
        }];
        user.get("closed/a.git", &[]).await.unwrap();
    }
    let mut identifier = user.identifier("closed/a.git", &[]).unwrap();
    user.sessions.clear();
    identifier.remote = identifier.remote.replace("//", "//x-access-token:sesame@");
    user.get_as(&identifier).await.unwrap();
    identifier.remote = identifier.remote.replace("sesame", "wrong%20one");
    let error = user
        .source
        .resolve(&identifier, &[], user.log())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("http://xxxxx:xxxxx@127.0.0.1"), "{error}");
    let said = user.said.lock().unwrap().clone() + &error;
    assert!(
        !said.contains("sesame") && !said.contains("wrong"),
        "{said}"
    );
}

#[tokio::test]
async fn submodules_come_along() {
    let user = User::new();
    let inner = user.repository("inner.git");
    inner.commit(&[("i", "innermost")]);
    let middle = user.repository("middle.git");
    middle.commit(&[("m", "in the middle")]);
    let served = user.fixture.directory("served");
    let add = |repository: &Repository, name: &str, path: &str| {
        repository.git(&[
            "submodule",
            "--quiet",
            "add",
            served.join(name).to_str().unwrap(),
            path,
        ]);
        let url = format!("../{name}");
        repository.git(&["submodule", "set-url", path, &url]);
        repository.commit(&[]);
    };
    add(&middle, "inner.git", "deep/inner");
    let outer = user.repository("outer.git");
    outer.commit(&[("o", "outermost")]);
    add(&outer, "middle.git", "lib/middle");
    let got = user.get("git/outer.git", &[]).await.unwrap();
    assert_eq!(got.text("lib/middle/m"), "in the middle");
    assert_eq!(got.text("lib/middle/deep/inner/i"), "innermost");
    assert!(!got.path("lib/middle/.git").exists());
    let part = user
        .get("git/outer.git#main:lib/middle/deep", &[])
        .await
        .unwrap();
    assert_eq!(part.text("inner/i"), "innermost");
    let kept = user.get("git/outer.git", KEPT).await.unwrap();
    assert_eq!(kept.text("lib/middle/deep/inner/i"), "innermost");
    let copy = Repository::at(kept.path(""));
    assert_eq!(copy.git(&["status", "--porcelain"]), "");
    let status = copy.git(&["submodule", "status", "--recursive"]);
    assert!(status.lines().all(|line| line.starts_with(' ')), "{status}");
    assert_eq!(status.lines().count(), 2, "{status}");
    assert!(kept.path(".git/modules").is_dir());
    let without = user.get("git/outer.git", WITHOUT_SUBMODULES).await.unwrap();
    assert!(without.names("lib/middle").is_empty());
    for (url, expected) in [
        ("file:///etc", "transport of \"file:///etc\" not allowed"),
        ("/etc", "transport of \"/etc\" not allowed"),
        ("ext::sh -c true", "not allowed"),
        ("../none.git", "failed to fetch remote"),
    ] {
        outer.git(&[
            "config",
            "--file",
            ".gitmodules",
            "submodule.lib/middle.url",
            url,
        ]);
        outer.commit(&[]);
        let error = user.fails("git/outer.git", &[]).await;
        assert!(error.contains(expected), "{error}");
    }
    outer.git(&["rm", "--quiet", "--cached", ".gitmodules"]);
    outer.git(&["commit", "--quiet", "--message=change"]);
    let error = user.fails("git/outer.git", &[]).await;
    assert!(
        error.contains("\"lib/middle\"") && error.contains("No url found"),
        "{error}"
    );
}

/// Settings that a repository brings are nobody's but its own.
#[tokio::test]
async fn a_repository_cannot_run_programs() {
    let user = User::new();
    let repository = user.repository("a.git");
    let mark = user.fixture.dir.path().join("mark");
    let touch = format!("touch {}", mark.display());
    repository.commit(&[
        (".gitattributes", "* filter=evil diff=evil\n"),
        ("f", "text"),
        ("hooks/post-checkout", &format!("#!/bin/sh\n{touch}\n")),
        (
            "config",
            &format!("[core]\nfsmonitor = {touch}\n[filter \"evil\"]\nsmudge = {touch}\n"),
        ),
        ("HEAD", "ref: refs/heads/main\n"),
        (
            ".gitmodules",
            &format!("[submodule \"x\"]\npath = x\nurl = ./x\nupdate = !{touch}\n"),
        ),
    ]);
    for attributes in [&[][..], KEPT] {
        let got = user.get("git/a.git", attributes).await.unwrap();
        assert_eq!(got.text("f"), "text");
    }
    assert!(!mark.exists());
}

#[tokio::test]
async fn git_is_stopped_with_the_build() {
    let user = User::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut identifier = user.identifier("git/a.git", &[]).unwrap();
    identifier.remote = format!("http://{}/a.git", listener.local_addr().unwrap());
    let (source, log) = (user.source.clone(), user.log());
    let asking = tokio::spawn(async move { source.resolve(&identifier, &[], log).await.is_ok() });
    let mut connection = tokio::task::spawn_blocking(move || listener.accept().unwrap().0)
        .await
        .unwrap();
    asking.abort();
    let ended = tokio::task::spawn_blocking(move || {
        std::io::copy(&mut connection, &mut std::io::sink()).map(drop)
    });
    // Only when the process is gone the connection ends.
    let _ = ended.await.unwrap();
}
