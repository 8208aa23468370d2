//! Repositories whose commits and tags GnuPG or OpenSSH signed.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use kiln_source::{GitIdentifier, GitLog, GitSource, SourceError};
use kiln_testkit::git::Repository;
use kiln_testkit::keys::{KeyRing, SshKey};
use kiln_testkit::web::WebServer;

use crate::{Fixture, git_source};

const COMMIT: [&str; 4] = ["commit", "--quiet", "--allow-empty", "--message=signed"];

struct World {
    server: WebServer,
    source: GitSource,
    repository: Repository,
    fixture: Fixture,
}

impl World {
    fn new(options: &[&str]) -> Self {
        let fixture = Fixture::new();
        let served = fixture.directory("served");
        let server = WebServer::start().unwrap();
        server.serve_repositories("/git/", &served, None);
        let repository = Repository::new(served.join("a.git"), options);
        Self {
            source: git_source(&fixture),
            fixture,
            server,
            repository,
        }
    }

    /// Runs git with a key of GnuPG, which is given further options.
    fn git(&self, ring: &KeyRing, key: &str, options: &str, arguments: &[&str]) -> String {
        let program = self.fixture.dir.path().join("gpg");
        let home = ring.home().display();
        let text = format!("#!/bin/sh\nexec gpg --homedir {home} --batch {options} \"$@\"\n");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let program = format!("gpg.program={}", program.display());
        let key = format!("user.signingKey={key}");
        self.repository
            .git(&[&["-c", &program, "-c", &key], arguments].concat())
    }

    /// Runs git with a key of OpenSSH.
    fn git_ssh(&self, key: &SshKey, arguments: &[&str]) -> String {
        let key = format!("user.signingKey={}", key.path().display());
        self.repository
            .git(&[&["-c", "gpg.format=ssh", "-c", &key], arguments].concat())
    }

    async fn verify(
        &self,
        reference: &str,
        attributes: &[(&str, &str)],
    ) -> Result<(), SourceError> {
        let url = format!("{}#{reference}", self.server.url("/git/a.git"));
        let remote = self.server.url("/git/a.git");
        let own = [("git.fullurl", remote.as_str())];
        let attributes = own.iter().chain(attributes);
        let attributes = attributes.map(|(name, value)| ((*name).into(), (*value).into()));
        let attributes: BTreeMap<String, String> = attributes.collect();
        let rest = url.strip_prefix("http://").unwrap();
        let identifier = GitIdentifier::parse(rest, &attributes)?;
        let log = || Arc::new(|_, _| {}) as GitLog;
        let revision = self.source.resolve(&identifier, &[], log()).await?;
        self.source.verify(&identifier, &revision, &[], log()).await
    }

    /// Checks what comes of a revision that has to be signed: nothing, or an error that says so.
    async fn check(&self, reference: &str, attributes: &[(&str, &str)], expected: &str) {
        match self.verify(reference, attributes).await {
            Ok(()) => assert_eq!(expected, "", "{reference} {attributes:?}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!expected.is_empty() && text.contains(expected), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn commits_and_tags_signed_by_gnupg() {
    for format in ["sha1", "sha256"] {
        let world = World::new(&[&format!("--object-format={format}")]);
        let ring = KeyRing::new();
        let key = ring.generate("ed25519", "sign", "never");
        let stranger = ring.generate("ed25519", "sign", "never");
        let (keys, others) = (ring.export(&key), ring.export(&stranger));
        let keys = ("git.sig.pubkey", keys.as_str());
        let others = ("git.sig.pubkey", others.as_str());
        let required = ("git.sig.requiresignedtag", "true");
        let ignored = ("git.sig.ignoresignedtag", "true");

        let unsigned = world.repository.commit(&[("f", "1")]);
        world.git(
            &ring,
            &key,
            "",
            &["tag", "--sign", "--message=t", "signed-tag"],
        );
        world
            .repository
            .git(&["tag", "--annotate", "--message=t", "tag"]);
        world.repository.git(&["tag", "light"]);
        world.repository.git(&["branch", "unsigned"]);
        world.git(&ring, &key, "", &[&COMMIT[..], &["--gpg-sign"]].concat());
        let signed = world.repository.git(&["rev-parse", "HEAD"]);
        world
            .repository
            .git(&["tag", "--annotate", "--message=t", "tag-of-signed"]);

        for (reference, attributes, expected) in [
            ("main", &[keys][..], ""),
            (&signed, &[keys], ""),
            ("main", &[others], "signature made by unknown entity"),
            ("unsigned", &[keys], "git object is not signed: commit of"),
            (&unsigned, &[keys], "git object is not signed"),
            ("signed-tag", &[keys], ""),
            ("signed-tag", &[keys, required], ""),
            ("signed-tag", &[others, required], "signature of the tag of"),
            (
                "signed-tag",
                &[keys, ignored],
                "git object is not signed: commit of",
            ),
            ("tag", &[keys], "git object is not signed: commit of"),
            ("tag", &[keys, required], "git object is not signed: tag of"),
            ("tag-of-signed", &[keys], ""),
            (
                "light",
                &[keys, required],
                "signed tag required but no signed tag found",
            ),
            ("main", &[("git.sig.pubkey", "x")], "no armored data found"),
        ] {
            world.check(reference, attributes, expected).await;
        }
    }
}

#[tokio::test]
async fn commits_and_tags_signed_by_openssh() {
    let world = World::new(&[]);
    let (key, stranger) = (SshKey::new("ed25519", "256"), SshKey::new("rsa", "2048"));
    let (keys, others) = (key.public(), stranger.public());
    world.repository.commit(&[("f", "1")]);
    // What looks like a signature in a message is none.
    let message = "--message=t\n\n-----BEGIN SSH SIGNATURE-----\nfalse\n";
    world.git_ssh(&key, &["tag", "--sign", message, "signed-tag"]);
    world.git_ssh(&key, &[&COMMIT[..], &["--gpg-sign"]].concat());
    for (reference, keys, expected) in [
        ("main", &keys, ""),
        ("signed-tag", &keys, ""),
        ("main", &others, "failed to verify ssh signature by SHA256:"),
        ("signed-tag", &others, "git object is not signed"),
    ] {
        world
            .check(reference, &[("git.sig.pubkey", keys)], expected)
            .await;
    }
}

#[tokio::test]
async fn keys_that_expired_are_refused_if_wanted() {
    let world = World::new(&[]);
    let ring = KeyRing::new();
    let key = ring.generate_at(Some("20200101T000000"), "ed25519", "sign", "1y");
    let keys = ring.export(&key);
    let keys = ("git.sig.pubkey", keys.as_str());
    world.repository.commit(&[("f", "1")]);
    let options = "--faked-system-time 20200201T000000!";
    world.git(
        &ring,
        &key,
        options,
        &[&COMMIT[..], &["--gpg-sign"]].concat(),
    );
    world.check("main", &[keys], "").await;
    let rejected = [keys, ("git.sig.rejectexpired", "true")];
    world.check("main", &rejected, "key expired").await;
}
