//! Repositories that are one file: what git makes of ours, and what we make of git's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_session::{Directories, Session};
use kiln_source::{GitIdentifier, GitLog, GitSource, SourceError};
use kiln_testkit::git::Repository;
use kiln_testkit::image::write_blob;
use kiln_testkit::registry::Registry;
use kiln_testkit::web::WebServer;

use crate::{Fixture, git_source};

/// Two commits on the branch `main`, of which the first has the tag `v1`.
struct World {
    server: WebServer,
    source: GitSource,
    repository: Repository,
    commits: [String; 2],
    fixture: Fixture,
}

impl World {
    fn new(options: &[&str]) -> Self {
        let fixture = Fixture::new();
        let served = fixture.directory("served");
        let server = WebServer::start().unwrap();
        server.serve_repositories("/git/", &served, None);
        let repository = Repository::new(served.join("a.git"), options);
        let first = repository.commit(&[("f", "one")]);
        repository.git(&["tag", "v1"]);
        let second = repository.commit(&[("f", "two")]);
        Self {
            source: git_source(&fixture),
            fixture,
            server,
            repository,
            commits: [first, second],
        }
    }

    /// The tree of a reference, with the cache key.
    async fn get(
        &self,
        url: &str,
        attributes: &[(&str, &str)],
        sessions: &[Session],
    ) -> Result<(PathBuf, String), SourceError> {
        let remote = url.split('#').next().unwrap();
        let own = [("git.fullurl", remote)];
        let attributes = own.iter().chain(attributes);
        let attributes = attributes.map(|(name, value)| ((*name).into(), (*value).into()));
        let attributes: BTreeMap<String, String> = attributes.collect();
        let rest = url.strip_prefix("http://").unwrap();
        let identifier = GitIdentifier::parse(rest, &attributes)?;
        let log = || Arc::new(|_, _| {}) as GitLog;
        let revision = self.source.resolve(&identifier, sessions, log()).await?;
        let tree = self
            .source
            .snapshot(&identifier, &revision, sessions, log())
            .await?;
        let key = revision.cache_key(&identifier).key;
        Ok((tree.local_dir()?.unwrap(), key))
    }

    fn url(&self, fragment: &str) -> String {
        self.server.url(&format!("/git/a.git{fragment}"))
    }

    /// A bundle by git itself.
    fn bundle(&self) -> Vec<u8> {
        let file = self.fixture.dir.path().join("made.bundle");
        self.repository
            .git(&["bundle", "create", file.to_str().unwrap(), "--all"]);
        std::fs::read(file).unwrap()
    }
}

fn read(tree: &Path, name: &str) -> String {
    std::fs::read_to_string(tree.join(name)).unwrap()
}

#[tokio::test]
async fn sources_are_bundles_if_that_is_wanted() {
    for format in ["sha1", "sha256"] {
        let world = World::new(&[&format!("--object-format={format}")]);
        let [first, second] = world.commits.clone();
        // What is here of the branch has no history.
        world.get(&world.url("#main"), &[], &[]).await.unwrap();
        for (fragment, name, commit) in [
            ("", "refs/heads/main", &second),
            ("#main", "refs/heads/main", &second),
            ("#refs/tags/v1", "refs/tags/v1", &first),
            ("#v1", "refs/tags/v1", &first),
            (&format!("#{first}"), "refs/heads/main", &first),
        ] {
            let attributes = [("git.checkoutbundle", "true")];
            let (tree, key) = world
                .get(&world.url(fragment), &attributes, &[])
                .await
                .unwrap();
            let suffix = match name {
                "refs/heads/main" => "(bundle)",
                _ => "(bundle)#refs/tags/v1",
            };
            assert_eq!(key, format!("{commit}{suffix}"));
            let names: Vec<_> = std::fs::read_dir(&tree).unwrap().collect();
            assert_eq!(names.len(), 1);
            let bundle = tree.join("bundle").display().to_string();
            let listed = world.repository.git(&["bundle", "list-heads", &bundle]);
            assert_eq!(listed, format!("{commit} {name}"), "{fragment}");
            let place = world.fixture.directory("clone");
            let clone = Repository::new(
                place.join(fragment.replace('/', "-")),
                &[&format!("--object-format={format}")],
            );
            clone.git(&["fetch", "--quiet", &bundle, "+refs/*:refs/got/*"]);
            let history = clone.git(&["rev-list", "--all"]);
            assert!(history.ends_with(&first), "{history}");
        }
    }
}

#[tokio::test]
async fn commits_come_from_bundles() {
    let world = World::new(&[]);
    let [first, second] = world.commits.clone();
    let registry = Registry::start().unwrap();
    let blob = registry.push_blob("bundles", &world.bundle());
    let in_registry = format!(
        "docker-image+blob://{}/bundles@{}",
        registry.host(),
        blob.digest
    );
    let layout = world.fixture.directory("layout");
    write_blob(&layout, &world.bundle()).unwrap();
    let in_layout = format!("oci-layout+blob://mine@{}", blob.digest);
    let sessions = [Session {
        files: Arc::new(Directories {
            oci_layouts: [("mine".to_owned(), layout)].into(),
            ..Directories::default()
        }),
        ..Session::empty()
    }];
    // Nobody is there.
    let gone = "http://127.0.0.1:1/a.git";
    for (place, fragment, commit, text) in [
        (&in_registry, "", &second, "two"),
        (&in_registry, "#main", &second, "two"),
        (&in_registry, "#v1", &first, "one"),
        (&in_layout, &format!("#{first}"), &first, "one"),
    ] {
        let attributes = [("git.bundle", place.as_str()), ("git.checksum", commit)];
        let url = format!("{gone}{fragment}");
        let (tree, key) = world.get(&url, &attributes, &sessions).await.unwrap();
        assert_eq!(
            (read(&tree, "f").as_str(), &key),
            (text, commit),
            "{fragment}"
        );
    }
    let both = [
        ("git.bundle", in_registry.as_str()),
        ("git.checksum", &second),
        ("git.checkoutbundle", "true"),
    ];
    let (tree, _) = world.get(gone, &both, &[]).await.unwrap();
    let bundle = tree.join("bundle").display().to_string();
    world
        .repository
        .git(&["bundle", "verify", "--quiet", &bundle]);
}

#[tokio::test]
async fn bundles_that_are_none_are_named() {
    let world = World::new(&[]);
    let [first, _] = world.commits.clone();
    let registry = Registry::start().unwrap();
    let host = registry.host();
    let good = registry.push_blob("bundles", &world.bundle()).digest;
    let garbage = registry
        .push_blob("bundles", b"# v2 git bundle\nnot at all\n")
        .digest;
    let absent = good.replace("sha256:", "sha256:00")[..71].to_owned();
    let other = "0123456789".repeat(4);
    for (digest, checksum, expected) in [
        (
            &garbage,
            &first,
            "failed to import git bundle into http://127.0.0.1:1/a.git",
        ),
        (&absent, &first, "not found"),
        (
            &good,
            &other,
            "not found in bundle of http://127.0.0.1:1/a.git",
        ),
    ] {
        let place = format!("docker-image+blob://{host}/bundles@{digest}");
        let attributes = [("git.bundle", place.as_str()), ("git.checksum", checksum)];
        let error = world
            .get("http://127.0.0.1:1/a.git", &attributes, &[])
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
    }
}
