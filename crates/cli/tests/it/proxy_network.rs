//! `--proxy-network`: programs that know nothing of it, HTTPS, and what remains in layers.

use std::path::Path;
use std::process::Command;

use kiln_testkit::registry::{Protection, Registry, Transport};
use serde_json::Value;

use crate::daemon::{Daemon, Engine};
use crate::world::{Ran, World, assert_has, ran, tool};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// A world with Debian's curl and busybox in `rootfs`, and a server that speaks HTTPS.
fn world() -> (World, Registry) {
    let world = World::with_busybox();
    let libraries = tool("ldd", &["/usr/bin/curl"]);
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in libraries.chain(["/usr/bin/curl"]) {
        let target = world
            .path("context/rootfs")
            .join(file.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
    world.write(&format!("context/rootfs/{BUNDLE}"), "# nobody\n");
    let registry = Registry::start_protected(Protection {
        transport: Transport::Https,
        ..Protection::default()
    });
    (world, registry.unwrap())
}

/// A build by a process that trusts the server; its steps do not.
fn build(mut command: Command, certificate: &Path, arguments: &[&str]) -> Ran {
    command.env("SSL_CERT_FILE", certificate).args(arguments);
    ran(command.output().unwrap())
}

#[test]
fn https_is_seen_through_by_either_engine() {
    let (world, server) = world();
    let url = format!("{}/v2/", server.url());
    world.on_busybox(&format!(
        "RUN curl --noproxy '' -fsS {url} > /out; touch -d @1 /out\n\
         FROM scratch\nCOPY --from=busybox /out /{BUNDLE} /\n"
    ));
    let daemon = Daemon::trusting(&world, &server.ca());
    let provenance = ["--opt", "attest:provenance=mode=max"];
    let files = ["--proxy-network", "--output", "type=local,dest=files"];
    let arguments = [&files[..], &provenance].concat();
    for engine in Engine::BOTH {
        let command = match engine {
            Engine::Own => world.build_command(&arguments),
            Engine::Daemon => daemon.build_command(&world, &arguments),
        };
        let built = build(command, &server.ca(), &[]);
        assert!(built.success, "{}", built.stderr);
        assert_has(&built.stderr, &format!("- GET {url} -> 200"));
        assert_eq!(world.read("files/out"), "{}");
        assert_eq!(world.read("files/ca-certificates.crt"), "# nobody\n");
        let statement = world.read("files/provenance.json");
        assert_has(&statement, &format!("\"uri\": \"{url}\""));
        assert_has(&statement, "\"mode\": \"proxy\"");
    }
}

#[test]
fn the_authority_leaves_no_trace_in_layers() {
    let (world, server) = world();
    let url = format!("{}/v2/", server.url());
    world.on_busybox(&format!("RUN curl --noproxy '' -fsS {url} > /out\n"));
    let arguments = [
        "--proxy-network",
        "--output",
        "type=oci,dest=image,tar=false",
    ];
    let built = build(world.build_command(&arguments), &server.ca(), &[]);
    assert!(built.success, "{}", built.stderr);
    let index: Value = serde_json::from_str(&world.read("image/index.json")).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
        world.path("image/blobs").join(digest)
    };
    let manifest = std::fs::read(blob(&index["manifests"][0])).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = blob(&manifest["layers"][1]);
    let names = tool("tar", &["-tzf", layer.to_str().unwrap()]);
    assert_eq!(names, "out\n");
}
