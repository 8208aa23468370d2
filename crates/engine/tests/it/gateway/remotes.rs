//! Questions about repositories and files of web servers.

use kiln_protocol::frontend::{
    ChecksumRequest, ResolveSourceGitRequest, ResolveSourceHttpRequest, ResolveSourceMetaRequest,
    ResolveSourceMetaResponse,
};
use kiln_protocol::pb;
use kiln_testkit::git::{Repository, TIME};
use kiln_testkit::web::{Page, WebServer};

use super::world::{Driven, World};

async fn ask(
    build: &mut Driven,
    identifier: &str,
    (attribute, value): (&str, &str),
    git: Option<ResolveSourceGitRequest>,
) -> ResolveSourceMetaResponse {
    let request = ResolveSourceMetaRequest {
        source: Some(pb::SourceOp {
            identifier: identifier.to_owned(),
            attrs: [(attribute.to_owned(), value.to_owned())].into(),
        }),
        git,
        ..ResolveSourceMetaRequest::default()
    };
    let known = build.client.resolve_source_meta(request).await;
    known.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_and_files_are_looked_up() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    let repository = Repository::new(world.path("served/a.git"), &[]);
    server.serve_repositories("/git/", &world.path("served"), None);
    let commit = repository.commit(&[("f", "text")]);
    repository.git(&["tag", "--annotate", "--message=tag", "v1"]);
    let tag = repository.git(&["rev-parse", "v1"]);
    let mut build = world.drive().await;
    let url = server.url("/git/a.git");
    let place = ("git.fullurl", url.as_str());
    for return_object in [false, true] {
        let git = Some(ResolveSourceGitRequest { return_object });
        let known = ask(&mut build, "git://host/a.git#v1", place, git).await;
        assert!(known.image.is_none() && known.http.is_none());
        assert_eq!(known.source.unwrap().identifier, "git://host/a.git#v1");
        let known = known.git.unwrap();
        assert_eq!(known.r#ref, "refs/tags/v1");
        assert_eq!((&known.checksum, &known.commit_checksum), (&tag, &commit));
        let objects = [
            (known.commit_object, "commit", &commit),
            (known.tag_object, "tag", &tag),
        ];
        for (object, kind, name) in objects {
            let expected = match return_object {
                true => repository.git(&["cat-file", kind, name]),
                false => String::new(),
            };
            let object = String::from_utf8(object.to_vec()).unwrap();
            assert_eq!(object.trim_end(), expected);
        }
    }
    let known = ask(&mut build, "git://host/a.git", place, None).await;
    let known = known.git.unwrap();
    assert_eq!(
        (known.checksum, known.commit_checksum),
        (commit, String::new())
    );
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    server.serve("/f.txt", Page::new("text").header("Last-Modified", date));
    let url = server.url("/f.txt");
    let known = ask(&mut build, &url, ("http.perm", "0600"), None).await;
    let known = known.http.unwrap();
    assert_eq!(known.filename, "f.txt");
    assert_eq!(
        known.checksum,
        "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    );
    assert_eq!(known.last_modified.unwrap().seconds, TIME);
}

#[tokio::test(flavor = "multi_thread")]
async fn further_checksums_are_of_the_file_and_what_follows_it() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    server.serve("/f", Page::new("text"));
    let mut build = world.drive().await;
    let request = |algo: i32, suffix: Vec<u8>| ResolveSourceMetaRequest {
        source: Some(pb::SourceOp {
            identifier: server.url("/f"),
            ..pb::SourceOp::default()
        }),
        http: Some(ResolveSourceHttpRequest {
            checksum_request: Some(ChecksumRequest {
                algo,
                suffix: suffix.into(),
            }),
        }),
        ..ResolveSourceMetaRequest::default()
    };
    let known = build
        .client
        .resolve_source_meta(request(0, b"more".to_vec()));
    let known = known.await.unwrap().into_inner().http.unwrap();
    let checksum = known.checksum_response.unwrap();
    assert_eq!(
        checksum.digest,
        "sha256:320bd03050cc6f4a0ad9bd63b8b44008b580b591e871990c459f2d4d8663299a"
    );
    assert_eq!(checksum.suffix, "more");
    for (algo, suffix, expected) in [
        (7, vec![], "unsupported checksum algorithm 7"),
        (
            0,
            vec![0; 4097],
            "http checksum request suffix exceeds max size 4096",
        ),
    ] {
        let refused = build.client.resolve_source_meta(request(algo, suffix));
        let error = refused.await.unwrap_err();
        assert!(error.message().contains(expected), "{error:?}");
    }
}
