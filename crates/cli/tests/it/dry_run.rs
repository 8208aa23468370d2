//! What a build would do, as `build --dry-run` tells it, and that it does nothing.

use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use kiln_testkit::web_cache::WebCache;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{World, assert_has, outcome, ran, text, tool};

const LOCAL: &[&str] = &["--output", "type=local,dest=out"];
const DRY: &[&str] = &["--dry-run", "--format", "json"];

fn world() -> World {
    let world = World::with_busybox();
    world.on_busybox(
        "FROM busybox AS result\nCOPY src /src\nRUN cat /src/a.txt > /result\n\
         FROM busybox AS other\nRUN echo other > /other\n\
         FROM scratch\nCOPY --from=result /result /\nCOPY --from=other /other /\n",
    );
    world.write("context/src/a.txt", "one\n");
    world
}

fn plan(world: &World, arguments: &[&str]) -> Value {
    let ran = world.build(&[DRY, arguments].concat());
    assert!(ran.success, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The place of the step whose name has this part.
fn place(plan: &Value, name: &str) -> usize {
    let steps = plan["steps"].as_array().unwrap();
    let has_name = |step: &Value| step["name"].as_str().unwrap().contains(name);
    let place = steps.iter().position(has_name);
    place.unwrap_or_else(|| panic!("no step {name:?} in:\n{plan:#}"))
}

/// A plan without the digests of steps: they tell which session a directory comes from.
fn comparable(mut plan: Value) -> Value {
    for step in plan["steps"].as_array_mut().unwrap() {
        step["digest"].take();
    }
    plan
}

/// Asserts what would become of steps.
#[track_caller]
fn check(plan: &Value, fates: &[(&str, &str)]) {
    for (name, fate) in fates {
        let step = &plan["steps"][place(plan, name)];
        assert_eq!(step["fate"], *fate, "{name} in:\n{plan:#}");
    }
}

/// Asserts that a step depends on what another one comes to.
#[track_caller]
fn check_unknown(plan: &Value, name: &str, on: &str) {
    let step = &plan["steps"][place(plan, name)];
    assert_eq!(step["fate"], "unknown", "{plan:#}");
    assert_eq!(step["dependsOn"], place(plan, on), "{plan:#}");
}

/// All that the store holds but for the client's directories, and all that is beside it.
fn state(world: &World) -> [String; 3] {
    let format = "{{range .}}{{.ID}} {{.RecordType}} {{.Size}} {{.UsageCount}}\n{{end}}";
    let usage = world.run(&["du", "--format", format]);
    assert!(usage.success, "{}", usage.stderr);
    let held = usage
        .stdout
        .lines()
        .filter(|line| !line.contains("source.local"));
    let mut held: Vec<_> = held.collect();
    held.sort_unstable();
    let content = world.path("root/content");
    let blobs = tool(
        "find",
        &[text(&content), "-type", "f", "-printf", "%P %s\n"],
    );
    let mut blobs: Vec<_> = blobs.lines().collect();
    blobs.sort_unstable();
    let names = std::fs::read_dir(world.path(".")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    [held.join("\n"), blobs.join("\n"), format!("{names:?}")]
}

#[test]
fn a_root_that_is_empty_a_build_and_a_change() {
    let world = world();
    world.run(&["du"]);
    let before = state(&world);
    let cold = plan(&world, LOCAL);
    assert_eq!(state(&world), before);
    let first = [
        ("load build context", "used"),
        ("COPY rootfs", "runs"),
        ("COPY src", "runs"),
        ("RUN cat", "runs"),
        ("RUN echo other", "runs"),
    ];
    check(&cold, &first);
    check_unknown(&cold, "COPY --from=result", "RUN cat");
    check_unknown(&cold, "COPY --from=other", "RUN echo other");
    assert_eq!(cold["pulls"], json!([]));
    let output = json!([{"kind": "local", "destination": "out", "hasNewLayers": false}]);
    assert_eq!(cold["outputs"], output);

    world.must_build(&[]);
    let before = state(&world);
    let warm = plan(&world, LOCAL);
    assert_eq!(state(&world), before);
    check(
        &warm,
        &[
            ("COPY --from=other", "cached"),
            ("COPY --from=result", "unneeded"),
        ],
    );
    check(
        &warm,
        &[("RUN cat", "unneeded"), ("COPY rootfs", "unneeded")],
    );
    assert_eq!(warm["pulls"], json!([]));

    world.write("context/src/a.txt", "two\n");
    let changed = plan(&world, LOCAL);
    assert_eq!(state(&world), before);
    check(
        &changed,
        &[
            ("COPY rootfs", "cached"),
            ("COPY src", "runs"),
            ("RUN cat", "runs"),
        ],
    );
    check(&changed, &[("RUN echo other", "cached")]);
    check_unknown(&changed, "COPY --from=result", "RUN cat");
    // What was told is what happens.
    let progress = world.must_build(LOCAL);
    for (step, fate) in [
        ("COPY rootfs", "CACHED"),
        ("RUN cat", "DONE"),
        ("RUN echo", "CACHED"),
    ] {
        assert_eq!(outcome(&progress, step), fate, "{progress}");
    }
    let ignoring = plan(&world, &["--no-cache"]);
    check(
        &ignoring,
        &[("RUN cat", "runs"), ("COPY --from=result", "runs")],
    );
}

#[test]
fn the_text_for_people() {
    let world = world();
    let ran = world.build(&[&["--dry-run"], LOCAL].concat());
    assert!(ran.success, "{}", ran.stderr);
    assert_has(&ran.stdout, "STEP FATE    NAME\n");
    assert_has(&ran.stdout, " runs ");
    assert_has(
        &ran.stdout,
        "COPY --from=result /result / (depends on what step ",
    );
    assert_has(&ran.stdout, "would write out (local)\n");
    assert!(!world.exists("out"));
}

#[test]
fn a_cache_on_an_empty_root() {
    let server = WebCache::start(None).unwrap();
    let cache = format!("type=http,url=http://{}", server.host());
    let world = world();
    world.must_build(&["--export-cache", &format!("{cache},mode=max")]);
    std::fs::rename(world.path("root"), world.path("old-root")).unwrap();
    world.run(&["du"]);
    let before = state(&world);
    let sent = server.objects().len();
    let import = ["--import-cache", cache.as_str()];

    let planned = plan(&world, &[&import, LOCAL].concat());
    check(
        &planned,
        &[("COPY --from=other", "cached"), ("RUN cat", "unneeded")],
    );
    let last = place(&planned, "COPY --from=other");
    assert_has(
        planned["steps"][last]["from"].as_str().unwrap(),
        &server.host(),
    );
    let pull = &planned["pulls"][0];
    assert_eq!(
        (&pull["step"], &pull["certainty"]),
        (&json!(last), &json!("sure"))
    );
    let layers = pull["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2, "{planned:#}");
    for layer in layers {
        let digest = layer["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:");
        let blob = &server.objects()[&format!("/cas/{digest}")];
        assert_eq!(layer["size"], blob.len());
    }
    // Without an output nobody reads the files.
    let planned = plan(
        &world,
        &[&import[..], &["--export-cache", "type=local,dest=new"]].concat(),
    );
    assert_eq!(planned["pulls"], json!([]));
    let export = json!([{"kind": "local", "destination": "new"}]);
    assert_eq!(planned["cacheExports"], export);
    assert_eq!(state(&world), before);
    assert_eq!(server.objects().len(), sent);
}

#[test]
fn base_images_and_pushes() {
    let registry = Registry::start().unwrap();
    let world = World::new();
    rootfs::busybox(world.path("base")).unwrap();
    let image = registry.push_rootfs(world.path("base"), "base:v1").unwrap();
    let (base, name) = (
        format!("{}/base:v1", registry.host()),
        format!("{}/app:1", registry.host()),
    );
    world.dockerfile(&format!("FROM {base}\nRUN echo made > /made\n"));
    world.run(&["du"]);
    let before = state(&world);
    let output = format!("type=image,name={name},push=true");
    let planned = plan(&world, &["--output", &output]);
    assert_eq!(state(&world)[0], before[0]);
    check(&planned, &[("FROM", "used"), ("RUN echo", "runs")]);
    let manifest = tool(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{base}"),
        ],
    );
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = &manifest["layers"][0];
    let layer = json!({"digest": layer["digest"], "size": layer["size"]});
    let from = format!("{base}@{}", image.digest);
    let pull = json!([{"step": 0, "from": from, "certainty": "sure", "layers": [layer]}]);
    assert_eq!(planned["pulls"], pull);
    let output = &planned["outputs"][0];
    assert_eq!(output["pushed"], json!([name]));
    assert_eq!(output["hasNewLayers"], true);
    let pushed = format!("docker://{name}");
    let arguments = ["inspect", "--tls-verify=false", pushed.as_str()];
    let asked = std::process::Command::new("skopeo")
        .args(arguments)
        .output();
    assert!(!asked.unwrap().status.success(), "it was pushed");
}

#[test]
fn daemons_plan_too() {
    let world = world();
    let daemon = Daemon::start(&world);
    let told = |arguments: &[&str]| {
        let planned = ran(daemon.build_command(&world, arguments).output().unwrap());
        assert!(planned.success, "{}", planned.stderr);
        planned.stdout
    };
    let arguments = [DRY, LOCAL].concat();
    let planned: Value = serde_json::from_str(&told(&arguments)).unwrap();
    assert_eq!(comparable(planned), comparable(plan(&world, LOCAL)));
    assert!(!world.exists("out"));
    daemon.must_build(&world, &[]);
    let histories = daemon.must(&world, &["debug", "histories"]);
    assert_has(&told(&["--dry-run"]), "cached");
    assert_eq!(daemon.must(&world, &["debug", "histories"]), histories);
}

#[test]
fn what_a_plan_cannot_know_is_refused() {
    let world = world();
    let error = world.must_fail(&[
        "--dry-run",
        "--opt",
        "build-arg:BUILDKIT_SYNTAX=a.tld/frontend:1",
    ]);
    assert_has(&error, "frontend a.tld/frontend:1 would have to run");
    let error = world.must_fail(&["--dry-run", "--opt", "requestid=frontend.lint"]);
    assert_has(&error, "leave out --dry-run");
    let error = world.must_fail(&["--dry-run", "--metadata-file", "file"]);
    assert_has(&error, "cannot be used with");
    let error = world.must_fail(&["--format", "json"]);
    assert_has(&error, "--dry-run");
}
