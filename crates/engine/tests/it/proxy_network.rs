//! Steps whose network is a proxy: what they reach, what is told of it, and who may forbid it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kiln_engine::{
    BuildError, BuildRequest, Engine, EngineOptions, ExportRequest, ExportTarget, Frontend,
    StepNetwork,
};
use kiln_llb::build::{
    Constraints, Copy, FileActions, LocalOptions, MarshalOptions, Run, Settings, State,
};
use kiln_llb::pb::NetMode;
use kiln_protocol::sourcepolicy::{Policy, PolicyAction, Rule, Selector, Update as Replacement};
use kiln_session::progress::{Progress, Update};
use kiln_session::{Directories, Session};
use kiln_testkit::web::{Page, WebServer};
use serde_json::Value;

/// Of the text "/a".
const DIGEST: &str = "6a50dc8584134c7de537c0052ff6d236bf874355e050c90523e0c5ff2a543a28";

/// Keeps what steps say.
#[derive(Default)]
struct Said(Mutex<String>);

impl Progress for Said {
    fn update(&self, update: Update) {
        let mut said = self.0.lock().unwrap();
        for log in update.logs {
            said.push_str(&String::from_utf8_lossy(&log.data));
        }
    }
}

/// An engine, busybox, and a server with `/a` and `/b`, which are files with their names in them.
struct World {
    dir: tempfile::TempDir,
    engine: Engine,
    server: WebServer,
}

/// How a build ended.
struct Built {
    /// What the step left in `/result`.
    outcome: Result<String, BuildError>,
    /// What steps said.
    said: String,
    provenance: Value,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        kiln_testkit::rootfs::busybox(dir.path().join("rootfs")).unwrap();
        let server = WebServer::start().unwrap();
        for path in ["/a", "/b"] {
            server.serve(path, Page::new(path));
        }
        Self {
            engine: Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap(),
            dir,
            server,
        }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Runs `script`, in which `URL` is the server.
    async fn run(&self, script: &str, change: impl FnOnce(&mut BuildRequest)) -> Built {
        self.run_with(script, Settings::default(), change).await
    }

    async fn run_with(
        &self,
        script: &str,
        settings: Settings,
        change: impl FnOnce(&mut BuildRequest),
    ) -> Built {
        let script = script.replace("URL", &self.server.url(""));
        let run = Run {
            args: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
            settings: Some(Settings {
                dir: "/".into(),
                ..settings
            }),
            ..Run::default()
        };
        // Copied, so that it is known by its content.
        let mut actions = FileActions::new();
        actions.copy(Copy {
            contents_only: true,
            ..Copy::new(State::local("rootfs", LocalOptions::default()), "/", "/")
        });
        let rootfs = State::scratch().file(actions, Constraints::new());
        let state = rootfs.dir("/").run(run).root;
        let definition = state.marshal(&MarshalOptions::default()).unwrap();
        let session = Session {
            files: Arc::new(Directories {
                directories: [("rootfs".to_owned(), self.path("rootfs"))].into(),
                ..Directories::default()
            }),
            ..Session::empty()
        };
        let said = Arc::new(Said::default());
        let mut request = BuildRequest {
            options: [("attest:provenance".to_owned(), "mode=max".to_owned())].into(),
            exports: vec![ExportRequest {
                kind: "local".into(),
                attributes: BTreeMap::new(),
                target: ExportTarget::Directory(self.path("out")),
            }],
            network: StepNetwork::Proxied,
            progress: said.clone(),
            ..BuildRequest::new(Frontend::Definition(definition), session)
        };
        change(&mut request);
        let _ = std::fs::remove_dir_all(self.path("out"));
        let built = self.engine.build(request).await;
        let read = |name| std::fs::read_to_string(self.path("out").join(name)).unwrap_or_default();
        let statement: Value = serde_json::from_str(&read("provenance.json")).unwrap_or_default();
        Built {
            outcome: built.map(|_| read("result")),
            said: std::mem::take(&mut *said.0.lock().unwrap()),
            provenance: statement["predicate"].clone(),
        }
    }
}

impl Built {
    fn network(&self) -> &Value {
        &self.provenance["runDetails"]["metadata"]["buildkit_metadata"]["network"]
    }

    fn dependencies(&self) -> &Value {
        &self.provenance["buildDefinition"]["resolvedDependencies"]
    }
}

/// A policy with one rule about the URLs that end so.
fn rule(
    action: PolicyAction,
    ending: &str,
    replacement: &str,
) -> impl FnOnce(&mut BuildRequest) + use<> {
    let rule = Rule {
        action: action.into(),
        selector: Some(Selector {
            identifier: format!("*{ending}"),
            ..Selector::default()
        }),
        updates: (!replacement.is_empty()).then(|| Replacement {
            identifier: replacement.to_owned(),
            ..Replacement::default()
        }),
    };
    move |request| {
        request.source_policy = Some(Policy {
            rules: vec![rule],
            ..Policy::default()
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_steps_fetch_is_listed() {
    let world = World::new();
    let script = "ls /sys/class/net > /result; wget -q -O - URL/a >> /result; \
                  (printf 'POST URL/b HTTP/1.1\\r\\nHost: h\\r\\nContent-Length: 1\\r\\nConnection: close\\r\\n\\r\\nx'; sleep 1) \
                  | nc 127.0.0.1 ${http_proxy##*:} | tail -n 1 >> /result";
    let built = world.run(script, |_| {}).await;
    assert_eq!(built.outcome.as_ref().unwrap(), "lo\n/a/b");
    let url = world.server.url("");
    let listed = format!("proxy network requests:\n- GET {url}/a -> 200\n- POST {url}/b -> 200\n");
    assert!(built.said.ends_with(&listed), "{}", built.said);

    let dependencies = built.dependencies().as_array().unwrap();
    assert_eq!(dependencies.len(), 1, "{dependencies:?}");
    assert_eq!(dependencies[0]["uri"], format!("{url}/a"));
    assert_eq!(dependencies[0]["digest"]["sha256"], DIGEST);
    assert_eq!(built.network()["mode"], "proxy");
    let incomplete = &built.network()["proxy"]["incomplete"];
    assert_eq!(incomplete.as_array().unwrap().len(), 1);
    assert_eq!(incomplete[0]["method"], "POST");
    assert_eq!(incomplete[0]["uri"], format!("{url}/b"));
    assert_eq!(incomplete[0]["reason"], "method_not_materializable");
    assert!(
        incomplete[0]["name"]
            .as_str()
            .unwrap()
            .starts_with("/bin/sh -c ls")
    );
    assert!(incomplete[0]["op"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_other_networks_are_not_used() {
    let world = World::new();
    let script = "wget -q -O /result URL/a";
    let direct = |request: &mut BuildRequest| request.network = StepNetwork::Direct;
    let first = world.run(script, direct).await;
    assert_eq!(first.outcome.unwrap(), "/a");
    assert_eq!(world.server.requests().len(), 1);

    let proxied = world.run(script, |_| {}).await;
    assert_eq!(proxied.outcome.as_ref().unwrap(), "/a");
    assert_eq!(world.server.requests().len(), 1);
    assert_eq!(proxied.network()["proxy"], Value::Null);

    // An earlier result is used, and said to be one.
    let cached = world.run(script, |_| {}).await;
    assert_eq!(cached.outcome.as_ref().unwrap(), "/a");
    assert_eq!(world.server.requests().len(), 0);
    assert_eq!(cached.dependencies(), &Value::Null);
    let incomplete = &cached.network()["proxy"]["incomplete"];
    assert_eq!(incomplete[0]["reason"], "result_from_cache");
    let complete = |request: &mut BuildRequest| {
        let options = "complete-materials=true".to_owned();
        request.options.insert("attest:provenance".into(), options);
    };
    let error = world.run(script, complete).await.outcome.unwrap_err();
    let expected = "Uncaptured requests:\n  - /bin/sh -c wget";
    assert!(error.message.contains(expected), "{error}");
    assert!(
        error.message.contains("\n    reason: result_from_cache"),
        "{error}"
    );

    let none = Settings {
        network: NetMode::None,
        ..Settings::default()
    };
    let none = world
        .run_with("env | grep -i proxy > /result; true", none, |_| {})
        .await;
    assert_eq!(none.outcome.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_judge_requests() {
    let world = World::new();
    let url = world.server.url("");
    let denied = rule(PolicyAction::Deny, "/b", "");
    let script = "wget -q -O /result URL/a; wget -q -O - URL/b; exit 0";
    let built = world.run(script, denied).await;
    assert_eq!(built.outcome.unwrap(), "/a");
    let reason = format!("- GET {url}/b denied: source \"{url}/b\" denied by policy");
    assert!(built.said.contains(&reason), "{}", built.said);
    assert_eq!(world.server.requests().len(), 1);

    let converted = rule(PolicyAction::Convert, "/a", &format!("{url}/b"));
    let built = world.run("wget -q -O /result URL/a", converted).await;
    assert_eq!(built.outcome.as_ref().unwrap(), "/b");
    assert_eq!(built.dependencies()[0]["uri"], format!("{url}/b"));

    let converted = rule(PolicyAction::Convert, "/a", "docker-image://busybox");
    let built = world
        .run("wget -O /result URL/a 2>&1 || true", converted)
        .await;
    assert!(built.said.contains("denied: "), "{}", built.said);
}
