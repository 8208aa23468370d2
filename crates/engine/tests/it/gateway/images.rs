//! Images that are run as frontends but are none.

use std::collections::BTreeMap;

use kiln_engine::{BuildRequest, Frontend};
use kiln_testkit::image::Image;
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use serde_json::json;

use super::world::{World, context};

/// Pushes an image that runs a script.
fn push(registry: &Registry, world: &World, name: &str, script: &str) -> String {
    let root = world.path("frontend");
    if !root.exists() {
        rootfs::busybox(&root).unwrap();
    }
    let image = Image::new()
        .layer(root)
        .config("Entrypoint", json!(["/bin/sh", "-c", script]))
        .config("Env", json!(["PATH=/bin"]))
        .config(
            "Labels",
            json!({"moby.buildkit.frontend.caps": "a.b,c.d+x"}),
        );
    registry.push_image(&image, name).unwrap();
    format!("{}/{name}", registry.host())
}

fn build(world: &World, options: &[(&str, &str)]) -> BuildRequest {
    let options = options.iter();
    BuildRequest {
        options: options
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..world.request(Frontend::Gateway)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frontends_are_reported() {
    let registry = Registry::start().unwrap();
    let world = World::new();
    for (name, script, expected) in [
        (
            "dies",
            "exit 3",
            "did not complete successfully: exit code: 3",
        ),
        ("silent", "exit 0", "ended without a result"),
        ("talks", "echo hello; sleep 100000", "closed unexpectedly"),
        ("floods", "exec cat /dev/zero", "closed unexpectedly"),
        ("missing", "exec /no/such/program", "exit code: 127"),
    ] {
        let source = push(&registry, &world, name, script);
        let error = world.engine.build(build(&world, &[("source", &source)]));
        let error = error.await.unwrap_err();
        assert!(error.message.contains(expected), "{name}: {error}");
        assert!(error.message.contains(&source), "{name}: {error}");
    }
}

/// Whether a process with this argument runs.
fn is_running(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap();
    let mut lines = processes
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.any(|line| line.split('\0').any(|it| it == argument))
}

async fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_that_hangs_ends_with_its_build() {
    let registry = Registry::start().unwrap();
    let world = World::new();
    let mark = format!("{}.5", 100_000 + std::process::id());
    let source = push(&registry, &world, "hangs", &format!("sleep {mark}"));
    let (engine, request) = (world.engine.clone(), build(&world, &[("source", &source)]));
    let build = tokio::spawn(async move { engine.build(request).await });
    wait_until(|| is_running(&mark)).await;
    build.abort();
    wait_until(|| !is_running(&mark)).await;
    assert!(build.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_learns_what_it_is_to_do() {
    let registry = Registry::start().unwrap();
    let world = World::new();
    let script = "env | sort >&2; wc -c < /run/config/buildkit/metadata/frontend.bin >&2; exit 9";
    let source = push(&registry, &world, "tells", script);
    let seen = std::sync::Arc::new(Log::default());
    let request = BuildRequest {
        progress: seen.clone(),
        ..build(&world, &[("source", &source), ("a", "b=c")])
    };
    let session = request.session.id.clone();
    world.engine.build(request).await.unwrap_err();
    let log = seen.text();
    for line in [
        "BUILDKIT_EXPORTEDPRODUCT=buildkit".to_owned(),
        "BUILDKIT_FRONTEND_OPT_0=a=b=c".to_owned(),
        format!("BUILDKIT_FRONTEND_OPT_1=source={source}"),
        format!("BUILDKIT_SESSION_ID={session}"),
        "BUILDKIT_WORKERS=[{\"id\":".to_owned(),
        "PATH=/bin".to_owned(),
    ] {
        assert!(log.contains(&line), "{line} is missing in {log}");
    }
    let size: usize = log.lines().last().unwrap().trim().parse().unwrap();
    assert!(size > 50, "{log}");
}

#[derive(Default)]
struct Log(std::sync::Mutex<Vec<u8>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl kiln_session::progress::Progress for Log {
    fn update(&self, update: kiln_session::progress::Update) {
        for log in update.logs {
            self.0.lock().unwrap().extend_from_slice(&log.data);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_run_if_they_may() {
    let registry = Registry::start().unwrap();
    let world = World::with(|options| {
        options.frontends.gateway_repositories = vec![format!("{}/allowed", registry.host())];
    });
    let allowed = push(&registry, &world, "allowed", "exit 3");
    let other = push(&registry, &world, "other", "exit 3");
    let caps = ("frontend.caps", "a.b,e.f");
    for (options, expected) in [
        (
            vec![("source", other.as_str())],
            "is not an allowed gateway source",
        ),
        (vec![("source", allowed.as_str())], "exit code: 3"),
        (vec![], "no source specified for gateway"),
        (
            vec![("source", allowed.as_str()), ("gateway-devel", "true")],
            "development gateway is no longer supported",
        ),
        (
            vec![("source", allowed.as_str()), caps],
            "unsupported frontend capability e.f",
        ),
        (
            vec![("source", allowed.as_str()), ("frontend.caps", "a.b,c.d")],
            "exit code: 3",
        ),
    ] {
        let error = world.engine.build(build(&world, &options)).await;
        let error = error.unwrap_err();
        assert!(error.message.contains(expected), "{options:?}: {error}");
    }
    let with_inputs = BuildRequest {
        frontend_inputs: BTreeMap::from([("x".to_owned(), context("tree"))]),
        ..build(&world, &[("source", &allowed)])
    };
    let error = world.engine.build(with_inputs).await.unwrap_err();
    let expected = "unsupported frontend capability moby.buildkit.frontend.inputs";
    assert_eq!(error.message, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_may_ask_for_another_frontend() {
    let registry = Registry::start().unwrap();
    let world = World::new();
    let source = push(&registry, &world, "other", "exit 3");
    let dockerfile = format!("# syntax={source} and more\nFROM scratch\n");
    world.write("context/Dockerfile", &dockerfile);
    let check = async |options: &[(&str, &str)], line: Option<i32>, part: &str| {
        let request = BuildRequest {
            frontend: Frontend::Dockerfile,
            ..build(&world, options)
        };
        let error = world.engine.build(request).await.unwrap_err();
        assert!(error.message.contains(part), "{error}");
        let place = error.locations.first().map(|it| it.ranges[0].start.line);
        assert_eq!(place, line, "{error}");
    };
    check(&[], Some(1), "exit code: 3").await;
    let argument = ("build-arg:BUILDKIT_SYNTAX", source.as_str());
    check(&[argument], None, "failed with build-arg:BUILDKIT_SYNTAX").await;
}
