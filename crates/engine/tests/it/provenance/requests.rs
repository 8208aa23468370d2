//! What provenance says of requests behind the one that made a result.

use kiln_engine::{BuildError, BuildOutcome, Frontend, LlbBridgeService};
use kiln_llb::pb;
use kiln_protocol::frontend::llb_bridge_client::LlbBridgeClient;
use kiln_protocol::frontend::llb_bridge_server::LlbBridgeServer;
use kiln_protocol::frontend::{self, Ref, ReturnRequest, SolveRequest, result};
use serde_json::{Value, json};

use super::{Bench, dockerfile, read};

/// A build that its client drives: request by request, then the last one's result is what was built.
struct Driven {
    client: LlbBridgeClient<LlbBridgeServer<LlbBridgeService>>,
    outcome: tokio::task::JoinHandle<Result<BuildOutcome, BuildError>>,
}

impl Driven {
    async fn start(bench: &Bench, options: &[(&str, &str)]) -> Self {
        std::fs::remove_dir_all(bench.out()).ok();
        let request = bench.request(Frontend::Client, options);
        let (engine, id) = (bench.engine.clone(), request.id.clone());
        let outcome = tokio::spawn(async move { engine.build(request).await });
        let service = bench.engine.llb_bridge(&id).await.unwrap();
        Self {
            client: LlbBridgeClient::new(LlbBridgeServer::new(service)),
            outcome,
        }
    }

    async fn solve(&mut self, request: SolveRequest) -> Ref {
        let request = SolveRequest {
            allow_result_return: true,
            allow_result_array_ref: true,
            ..request
        };
        let response = self.client.solve(request).await.unwrap().into_inner();
        match response.result.unwrap().result {
            Some(result::Result::Ref(reference)) => reference,
            other => panic!("no single ref: {other:?}"),
        }
    }

    /// Builds a Dockerfile on other results.
    async fn dockerfile(
        &mut self,
        text: &str,
        options: &[(&str, &str)],
        inputs: &[(&str, &Ref)],
    ) -> Ref {
        let own = pb::Definition::from(dockerfile(text));
        let own = ["context", "dockerfile"].map(|name| (name.to_owned(), own.clone()));
        let inputs = inputs
            .iter()
            .map(|(name, from)| ((*name).to_owned(), from.def.clone().unwrap()));
        let options = options.iter();
        self.solve(SolveRequest {
            frontend: "dockerfile.v0".into(),
            frontend_opt: options
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            frontend_inputs: own.into_iter().chain(inputs).collect(),
            ..SolveRequest::default()
        })
        .await
    }

    /// Ends the build with this result.
    async fn finish(mut self, result: Ref) {
        let result = frontend::Result {
            result: Some(result::Result::Ref(result)),
            ..frontend::Result::default()
        };
        let request = ReturnRequest {
            result: Some(result),
            error: None,
        };
        self.client.r#return(request).await.unwrap();
        self.outcome.await.unwrap().unwrap();
    }
}

const FIRST: &str = "FROM scratch\nCOPY Dockerfile /first\n";
const ON_BASE: &str = "FROM base\nCOPY Dockerfile /second\n";

/// What provenance says of a request for `ON_BASE` by a client with some options of its own.
async fn request_on(
    bench: &Bench,
    asked: &str,
    base: impl AsyncFnOnce(&mut Driven) -> Ref,
) -> Value {
    let options = [
        ("attest:provenance", asked),
        ("build-arg:TOP", "t"),
        ("context", "https://u:p@host.test/x.git"),
        ("vcs:source", "https://u:p@host.test/x.git"),
    ];
    let mut build = Driven::start(bench, &options).await;
    let base = base(&mut build).await;
    let options = [("build-arg:SECOND", "2"), ("context:base", "input:base")];
    let inputs = [("base", &base)];
    let result = build.dockerfile(ON_BASE, &options, &inputs).await;
    build.finish(result).await;
    let statement = read(&bench.out().join("provenance.json"));
    let statement: Value = serde_json::from_str(&statement).unwrap();
    let found = match asked.contains("version=v0.2") {
        true => statement.pointer("/predicate/invocation/parameters"),
        false => statement.pointer("/predicate/buildDefinition/externalParameters/request"),
    };
    found.unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_behind_a_request_are_told_of() {
    let bench = Bench::new("");
    let source = "https://xxxxx:xxxxx@host.test/x.git";
    for (asked, second, first, top) in [
        (
            "mode=max",
            json!({"build-arg:SECOND": "2", "context:base": "input:base"}),
            json!({"frontend": "dockerfile.v0", "args": {"build-arg:FIRST": "1"}}),
            json!({"build-arg:TOP": "t", "vcs:source": source}),
        ),
        (
            "mode=min",
            json!({"context:base": "input:base"}),
            json!({"frontend": "dockerfile.v0"}),
            json!({"vcs:source": source}),
        ),
    ] {
        for version in ["v1", "v0.2"] {
            let asked = format!("{asked},version={version}");
            let found = request_on(&bench, &asked, async |build| {
                let options = [("build-arg:FIRST", "1"), ("platform", "linux/amd64")];
                build.dockerfile(FIRST, &options, &[]).await
            });
            let expected = json!({
                "frontend": "dockerfile.v0",
                "args": second,
                "inputs": {"base": {"configSource": {}, "request": first}},
                "root": {"configSource": {"uri": source}, "request": {"args": top}},
                "compatibilityVersion": 30,
            });
            assert_eq!(found.await, expected, "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_of_which_nothing_is_certain_are_left_out() {
    let bench = Bench::new("");
    // A definition of the client is nobody's result.
    let own = async |build: &mut Driven| {
        build
            .solve(SolveRequest {
                definition: Some(dockerfile(FIRST).into()),
                ..SolveRequest::default()
            })
            .await
    };
    let found = request_on(&bench, "", own).await;
    assert_eq!(found.get("inputs"), None);
    // Two requests came to the same.
    let either = async |build: &mut Driven| {
        let one = build.dockerfile(FIRST, &[("build-arg:A", "1")], &[]).await;
        build.dockerfile(FIRST, &[("build-arg:A", "2")], &[]).await;
        one
    };
    let found = request_on(&bench, "", either).await;
    assert_eq!(found.get("inputs"), None);
    // They differ in what only concerns the machine.
    let same = async |build: &mut Driven| {
        let one = build
            .dockerfile(FIRST, &[("cgroup-parent", "a")], &[])
            .await;
        build
            .dockerfile(FIRST, &[("cgroup-parent", "b")], &[])
            .await;
        one
    };
    let found = request_on(&bench, "", same).await;
    assert!(found["inputs"]["base"].is_object(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_may_come_from_another_build_that_goes_on() {
    let bench = Bench::new("");
    let mut other = Driven::start(&bench, &[]).await;
    let base = other.dockerfile(FIRST, &[("build-arg:A", "1")], &[]).await;
    let found = request_on(&bench, "", async |_| base.clone()).await;
    let expected = json!({"frontend": "dockerfile.v0", "args": {"build-arg:A": "1"}});
    assert_eq!(found["inputs"]["base"]["request"], expected);
    other.finish(base.clone()).await;
    let found = request_on(&bench, "", async |_| base).await;
    assert_eq!(found.get("inputs"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_doubles_with_each_request_ends() {
    let bench = Bench::new("");
    let found = request_on(&bench, "", async |build| {
        let mut base = build.dockerfile(FIRST, &[], &[]).await;
        for turn in 0..12 {
            let text = format!("FROM one AS o\nFROM two\nCOPY --from=o /first /{turn}\n");
            let options = [("context:one", "input:one"), ("context:two", "input:two")];
            let inputs = [("one", &base), ("two", &base)];
            base = build.dockerfile(&text, &options, &inputs).await;
        }
        base
    });
    let size = found.await.to_string().len();
    assert!(size < 50_000, "{size}");
}
