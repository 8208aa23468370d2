//! Provenance of builds, compared with what BuildKit said of the same ones.

mod layers;
mod requests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_engine::{
    BuildRequest, Definition, Engine, EngineOptions, Entitlement, ExportRequest, ExportTarget,
    Frontend,
};
use kiln_llb::build::{Constraints, FileActions, ImageOptions, MakeFile, MarshalOptions, State};
use kiln_session::{Directories, Session};
use kiln_testkit::image::Image;
use kiln_testkit::registry::Registry;
use serde_json::{Value, json};

/// A machine with an engine and a build context.
struct Bench {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Bench {
    fn new(dockerfile: &str) -> Self {
        Self::with(dockerfile, |_| {})
    }

    fn with(dockerfile: &str, set: impl FnOnce(&mut EngineOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = EngineOptions::new(dir.path().join("root"));
        set(&mut options);
        let engine = Engine::open(options).unwrap();
        let bench = Self { dir, engine };
        bench.write("Dockerfile", dockerfile);
        bench
    }

    fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::create_dir_all(self.context()).unwrap();
        std::fs::write(self.context().join(name), content).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// A request for the result's files.
    fn request(&self, frontend: Frontend, options: &[(&str, &str)]) -> BuildRequest {
        let directories = ["context", "dockerfile"].map(|name| (name.to_owned(), self.context()));
        let files = Directories {
            directories: directories.into(),
            ..Directories::default()
        };
        let session = Session {
            files: Arc::new(files),
            ..Session::empty()
        };
        let pairs = options.iter();
        BuildRequest {
            options: pairs
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            entitlements: [Entitlement::NetworkHost].into(),
            exports: vec![ExportRequest {
                kind: "local".into(),
                attributes: BTreeMap::new(),
                target: ExportTarget::Directory(self.out()),
            }],
            ..BuildRequest::new(frontend, session)
        }
    }

    /// Builds, and answers the predicate beside the files.
    async fn predicate(&self, frontend: Frontend, options: &[(&str, &str)]) -> Value {
        std::fs::remove_dir_all(self.out()).ok();
        self.engine
            .build(self.request(frontend, options))
            .await
            .unwrap();
        let statement = read(&self.out().join("provenance.json"));
        let statement: Value = serde_json::from_str(&statement).unwrap();
        statement["predicate"].clone()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a predicate in their order, without what differs between equal builds: digests, times and ids, and what
/// the BuildKit that made the fixtures did not say yet: the number of the behaviour and the version of the language.
fn normalized(text: &str) -> Vec<String> {
    const VARYING: [&str; 6] = [
        "\"invocationId\": ",
        "\"startedOn\": ",
        "\"finishedOn\": ",
        "\"buildInvocationID\": ",
        "\"buildStartedOn\": ",
        "\"buildFinishedOn\": ",
    ];
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_end_matches(',');
        let is_new = ["\"compatibilityVersion\": ", "\"dockerfileVersion\": "];
        if is_new.iter().any(|key| line.starts_with(key)) {
            continue;
        }
        let varying = VARYING.into_iter().find(|key| line.starts_with(key));
        lines.push(match (varying, line.strip_prefix("\"sha256:")) {
            (Some(key), _) => format!("{key}*"),
            (None, Some(digest)) => digest[64..].to_owned(),
            (None, None) => line.to_owned(),
        });
    }
    // Entries by digest come in any order.
    for run in lines.chunk_by_mut(|one, other| one.starts_with("\": ") == other.starts_with("\": "))
    {
        if run[0].starts_with("\": ") {
            run.sort();
        }
    }
    lines
}

/// The predicate of a statement, as it is written.
fn predicate_text(statement: &str) -> &str {
    let start = statement.find("\"predicate\": ").unwrap() + "\"predicate\": ".len();
    statement[start..].strip_suffix("\n}").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn predicates_are_buildkits() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/provenance");
    let bench = Bench::new(&read(&fixtures.join("Dockerfile")));
    bench.write("data1", "payload\n");
    std::fs::copy("/bin/busybox", bench.context().join("busybox")).unwrap();
    for (name, asked) in [
        ("v1-max", "mode=max"),
        (
            "v0.2-max",
            "version=v0.2,builder-id=https://example.test/b,reproducible=true",
        ),
        ("v1-min", "mode=min,version=v1"),
        ("v0.2-min", "mode=min,version=v0.2"),
    ] {
        let options = [
            ("attest:provenance", asked),
            ("filename", "Dockerfile"),
            ("build-arg:GREETING", "hi"),
            ("force-network-mode", "host"),
            ("label:l", "v"),
            ("platform", ""),
        ];
        let request = bench.request(Frontend::Dockerfile, &options);
        bench.engine.build(request).await.unwrap();
        let statement = read(&bench.out().join("provenance.json"));
        let found = normalized(predicate_text(&statement)).join("\n");
        let expected = normalized(&read(&fixtures.join(format!("{name}.json"))));
        assert_eq!(found, expected.join("\n"), "{name}");
        if asked.contains("max") {
            assert!(
                statement.contains("\"compatibilityVersion\": 30\n"),
                "{statement}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_named_with_digests() {
    let registry = Registry::start().unwrap();
    let host = registry.host();
    let bench = Bench::new(&format!("FROM {host}/base:1\nCOPY f /f\n"));
    bench.write("f", "content");
    let base = bench.dir.path().join("base");
    kiln_testkit::rootfs::files(&base, &[("etc/base", "1")]).unwrap();
    let pushed = registry
        .push_image(&Image::new().layer(&base), "base:1")
        .unwrap();
    let escaped = host.replace(':', "%3A");
    let expected = json!([{
        "uri": format!("pkg:docker/{escaped}/base@1?platform=linux%2Famd64"),
        "digest": {"sha256": pushed.digest.strip_prefix("sha256:").unwrap()},
    }]);
    // The second build finds everything in the cache.
    for _ in 0..2 {
        let predicate = bench
            .predicate(Frontend::Dockerfile, &[("attest:provenance", "")])
            .await;
        let definition = &predicate["buildDefinition"];
        assert_eq!(definition["resolvedDependencies"], expected);
        let metadata = &predicate["runDetails"]["metadata"];
        assert_eq!(
            metadata["buildkit_completeness"],
            json!({"request": true, "resolvedDependencies": false})
        );
        assert_eq!(metadata.get("buildkit_hermetic"), None);
        let layers = metadata["buildkit_metadata"]["layers"].as_object().unwrap();
        let chains = layers
            .values()
            .map(|chains| chains[0].as_array().unwrap().len());
        assert_eq!(chains.max(), Some(1), "{layers:?}");
    }

    // A definition of the client's own: nothing is missing but the request.
    let image = State::image(&format!("{host}/base:1"), ImageOptions::default()).unwrap();
    let definition = image.marshal(&MarshalOptions::default()).unwrap();
    let complete = [("attest:provenance", "complete-materials=true")];
    for _ in 0..2 {
        let frontend = Frontend::Definition(definition.clone());
        let predicate = bench.predicate(frontend, &complete).await;
        assert_eq!(
            predicate["buildDefinition"]["resolvedDependencies"],
            expected
        );
        let metadata = &predicate["runDetails"]["metadata"];
        assert_eq!(
            metadata["buildkit_completeness"],
            json!({"request": false, "resolvedDependencies": true})
        );
        assert_eq!(metadata["buildkit_hermetic"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_platforms_and_version_control() {
    let bench = Bench::new("FROM scratch\nCOPY f /f\n");
    bench.write("f", "content");
    let options = [
        ("attest:provenance", "filename=p.json"),
        ("platform", "linux/amd64,linux/arm64"),
        ("vcs:source", "https://user:secret@host.test/x.git"),
        ("vcs:revision", "abc"),
        ("context:other", "https://token@host.test/other"),
    ];
    bench
        .engine
        .build(bench.request(Frontend::Dockerfile, &options))
        .await
        .unwrap();
    for platform in ["linux_amd64", "linux_arm64"] {
        let text = read(&bench.out().join(platform).join("p.json"));
        let statement: Value = serde_json::from_str(&text).unwrap();
        let predicate = &statement["predicate"];
        let request = &predicate["buildDefinition"]["externalParameters"]["request"];
        assert_eq!(
            request["args"],
            json!({"context:other": "https://xxxxx@host.test/other"})
        );
        let vcs = &predicate["runDetails"]["metadata"]["buildkit_metadata"]["vcs"];
        assert_eq!(
            *vcs,
            json!({"revision": "abc", "source": "https://xxxxx:xxxxx@host.test/x.git"})
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_add() {
    let bench = Bench::with("FROM scratch\nCOPY f /f\n", |options| {
        let added = options.provenance.add(br#"{"a": {"site": 1}, "z": "x"}"#);
        added.unwrap();
    });
    bench.write("f", "content");
    let check = async |asked: &str, pointer: &str, expected: Value| {
        let options = [("attest:provenance", asked)];
        let predicate = bench.predicate(Frontend::Dockerfile, &options).await;
        assert_eq!(*predicate.pointer(pointer).unwrap(), expected);
    };
    let language = kiln_engine::DOCKERFILE_VERSION;
    check(
        "mode=min",
        "/buildDefinition/internalParameters",
        json!({"a": {"site": 1}, "builderPlatform": "linux/amd64", "dockerfileVersion": language, "z": "x"}),
    )
    .await;
    check(
        "mode=min,version=v0.2",
        "/invocation/environment",
        json!({"a": {"site": 1}, "dockerfileVersion": language, "platform": "linux/amd64", "z": "x"}),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_is_that_of_the_built_in_frontend() {
    let bench = Bench::with("FROM scratch\nCOPY f /f\n", |options| {
        let added = options.provenance.add(br#"{"dockerfileVersion": "ours"}"#);
        added.unwrap();
    });
    bench.write("f", "content");
    let asked = [("attest:provenance", "")];
    let version = |predicate: &Value| {
        predicate["buildDefinition"]["internalParameters"]["dockerfileVersion"].clone()
    };
    // Operators have the last word.
    let predicate = bench.predicate(Frontend::Dockerfile, &asked).await;
    assert_eq!(version(&predicate), "ours");

    let bench = Bench::new("");
    let definition = Frontend::Definition(dockerfile("FROM scratch\n"));
    let predicate = bench.predicate(definition, &asked).await;
    assert_eq!(version(&predicate), Value::Null);
}

/// A tree with a Dockerfile.
fn dockerfile(text: &str) -> Definition {
    let mut actions = FileActions::default();
    actions.make_file(MakeFile {
        path: "/Dockerfile".into(),
        mode: 0o644,
        data: text.to_owned().into_bytes().into(),
        ..MakeFile::default()
    });
    let state = State::scratch().file(actions, Constraints::new());
    state.marshal(&MarshalOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    let bench = Bench::new("FROM scratch\nCOPY f /f\n");
    bench.write("f", "content");
    let check = async |asked: (&str, &str), expected: &str| {
        let request = bench.request(Frontend::Dockerfile, &[asked]);
        let error = bench.engine.build(request).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!bench.out().exists());
    };
    check(("attest:provenance", "mode=most"), "invalid mode \"most\"").await;
    check(
        ("attest:provenance", "complete-materials=true"),
        "provenance materials are incomplete\n\nThe build requested complete provenance materials, but not all \
         dependencies could be captured.\n\nUncaptured local sources:\n  - context\n    reason: local_source\n  \
         - dockerfile\n    reason: local_source",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_said_if_wanted() {
    let bench = Bench::new("FROM scratch\nCOPY busybox /bin/sh\nRUN echo > /f\n");
    std::fs::copy("/bin/busybox", bench.context().join("busybox")).unwrap();
    for (options, is_said) in [("capture-usage=true", true), ("mode=max", false)] {
        let options = [("attest:provenance", options)];
        let predicate = bench.predicate(Frontend::Dockerfile, &options).await;
        let said = &predicate["runDetails"]["metadata"]["buildkit_metadata"]["sysUsage"];
        assert_eq!(said.is_array(), is_said);
        if is_said {
            let last = said.as_array().unwrap().last().unwrap();
            assert!(last["cpuStat"]["user"].as_f64().unwrap() > 0.0, "{last}");
            assert!(last["memoryStat"]["total"].as_u64().unwrap() > 0, "{last}");
            assert!(
                last["procStat"]["processCreated"].as_u64().unwrap() > 0,
                "{last}"
            );
            assert!(last["timestamp"].is_string());
        }
    }
}
