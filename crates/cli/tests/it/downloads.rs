//! Files of web servers in Dockerfiles, and contexts that are archives there.

use std::os::unix::fs::MetadataExt as _;

use kiln_testkit::web::{Page, WebServer};

use crate::world::{World, assert_has, outcome, text, tool};

const FILES: [&str; 2] = ["--output", "type=local,dest=files"];

#[test]
fn files_are_added_and_fetched_again_only_when_they_changed() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    let url = server.url("/dir/tool?version=1");
    server.serve("/dir/tool", Page::new("one").header("ETag", "\"1\""));
    world.dockerfile(&format!(
        "FROM scratch\nADD --chmod=755 --chown=1:2 {url} /bin/\nADD {url} /renamed\n"
    ));
    world.must_build(&FILES);
    assert_eq!(world.read("files/bin/tool"), "one");
    let mode = world.path("files/bin/tool").metadata().unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert_eq!(
        world.path("files/renamed").metadata().unwrap().mode() & 0o7777,
        0o600
    );
    let progress = world.must_build(&FILES);
    assert_eq!(outcome(&progress, "ADD --chmod"), "CACHED");
    server.serve("/dir/tool", Page::new("two").header("ETag", "\"2\""));
    let progress = world.must_build(&FILES);
    assert_eq!(outcome(&progress, "ADD --chmod"), "DONE");
    assert_eq!(world.read("files/bin/tool"), "two");
}

#[test]
fn archives_are_unpacked_when_that_is_asked_for() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    world.write("tree/inner", "from the archive");
    let archive = world.path("tree.tar.gz");
    tool(
        "tar",
        &[
            "-czf",
            text(&archive),
            "-C",
            text(&world.path("tree")),
            "inner",
        ],
    );
    server.serve("/tree.tar.gz", Page::new(std::fs::read(&archive).unwrap()));
    let url = server.url("/tree.tar.gz");
    world.dockerfile(&format!(
        "FROM scratch\nADD --unpack {url} /a/\nADD {url} /b/\n"
    ));
    world.must_build(&FILES);
    assert_eq!(world.read("files/a/inner"), "from the archive");
    assert!(world.exists("files/b/tree.tar.gz"));
}

#[test]
fn wrong_checksums_and_missing_files_point_to_the_line() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    server.serve("/f", Page::new("text"));
    let right = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    let url = server.url("/f");
    world.dockerfile(&format!("FROM scratch\nADD --checksum={right} {url} /f\n"));
    world.must_build(&FILES);
    assert_eq!(world.read("files/f"), "text");
    let wrong = right.replace('9', "8");
    world.dockerfile(&format!("FROM scratch\nADD --checksum={wrong} {url} /f\n"));
    let error = world.must_fail(&[]);
    assert_has(&error, &format!("digest mismatch {right}: {wrong}"));
    assert_has(&error, "Dockerfile:2");
    world.dockerfile(&format!(
        "FROM scratch\nADD {} /f\n",
        server.url("/missing")
    ));
    let error = world.must_fail(&[]);
    assert_has(&error, "invalid response status 404");
    assert_has(&error, "Dockerfile:2");
}

#[test]
fn a_context_is_an_archive_on_a_web_server() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    world.write("tree/Dockerfile", "FROM scratch\nCOPY f /f\n");
    world.write("tree/f", "from afar");
    let archive = world.path("tree.tar");
    tool(
        "tar",
        &["-cf", text(&archive), "-C", text(&world.path("tree")), "."],
    );
    server.serve("/tree.tar", Page::new(std::fs::read(&archive).unwrap()));
    let context = format!("context={}", server.url("/tree.tar"));
    let mut command = world.command(&["build", "--frontend", "dockerfile.v0"]);
    command.args(["--opt", &context]).args(FILES);
    let ran = crate::world::ran(command.output().unwrap());
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(world.read("files/f"), "from afar");
}

#[test]
fn provenance_names_what_was_downloaded() {
    let world = World::new();
    let server = WebServer::start().unwrap();
    server.serve("/f", Page::new("text"));
    let url = server.url("/f").replace("http://", "http://user:secret@");
    world.dockerfile(&format!("FROM scratch\nADD {url} /f\n"));
    let provenance = ["--opt", "attest:provenance=mode=max"];
    world.must_build(&[&FILES[..], &provenance].concat());
    let statement = world.read("files/provenance.json");
    assert_has(
        &statement,
        "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1",
    );
    assert_has(
        &statement,
        &server.url("/f").replace("http://", "http://xxxxx:xxxxx@"),
    );
    assert!(!statement.contains("user:secret"), "{statement}");
}
