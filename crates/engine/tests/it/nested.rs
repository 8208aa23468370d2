//! Build ops: steps that solve a definition which another step made.

use std::collections::BTreeMap;

use kiln_engine::{
    BuildRequest, Engine, EngineOptions, ExportRequest, ExportTarget, Frontend, Kind,
};
use kiln_llb::build::{Constraints, FileActions, MakeFile, MarshalOptions, State};
use kiln_llb::pb::{self, op};
use kiln_llb::{Definition, digest_of, encode_op};
use kiln_session::Session;

const DEFINITION: &str = "buildkit.llb.definition";

/// A tree with one file.
fn file(path: &str, data: impl Into<Vec<u8>>) -> Definition {
    let mut actions = FileActions::default();
    actions.make_file(MakeFile {
        path: path.to_owned(),
        mode: 0o644,
        data: data.into().into(),
        ..MakeFile::default()
    });
    let state = State::scratch().file(actions, Constraints::new());
    state.marshal(&MarshalOptions::default()).unwrap()
}

/// `of`, and a build of what its result has.
fn nested(mut of: Definition, change: impl FnOnce(&mut pb::BuildOp)) -> Definition {
    let input = pb::Input {
        digest: of.head().unwrap().to_string(),
        index: 0,
    };
    let mut build = pb::BuildOp {
        builder: -1,
        inputs: BTreeMap::from([(DEFINITION.to_owned(), pb::BuildInput { input: 0 })]),
        ..pb::BuildOp::default()
    };
    change(&mut build);
    let build = encode_op(&pb::Op {
        inputs: vec![input],
        op: Some(op::Op::Build(build)),
        ..pb::Op::default()
    });
    let terminal = encode_op(&pb::Op {
        inputs: vec![pb::Input {
            digest: digest_of(&build).to_string(),
            index: 0,
        }],
        ..pb::Op::default()
    });
    of.ops.pop();
    of.ops.extend([build, terminal]);
    of
}

struct Bench {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap();
        Self { dir, engine }
    }

    async fn build(&self, definition: Definition) -> Result<(), kiln_engine::BuildError> {
        let request = BuildRequest {
            exports: vec![ExportRequest {
                kind: "local".into(),
                attributes: BTreeMap::new(),
                target: ExportTarget::Directory(self.dir.path().join("out")),
            }],
            ..BuildRequest::new(Frontend::Definition(definition), Session::empty())
        };
        self.engine.build(request).await.map(drop)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("out").join(name)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_a_step_made_is_solved() {
    let bench = Bench::new();
    let inner = file("/made", "inside").encode();
    let definition = nested(file(&format!("/{DEFINITION}"), inner.clone()), |_| {});
    bench.build(definition.clone()).await.unwrap();
    assert_eq!(bench.read("made"), "inside");
    bench.build(definition).await.unwrap();
    let named = nested(file("/dir.pb", inner), |build| {
        let name = ("llbbuild.filename".to_owned(), "dir.pb".to_owned());
        build.attrs = BTreeMap::from([name]);
    });
    bench.build(named).await.unwrap();
    assert_eq!(bench.read("made"), "inside");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_build_is_explained() {
    let bench = Bench::new();
    let at = format!("/{DEFINITION}");
    let inner = || file(&at, file("/made", "inside").encode());
    let check = async |definition: Definition, part: &str| {
        let error = bench.build(definition).await.unwrap_err();
        assert_eq!(error.kind, Kind::Input, "{error}");
        assert!(
            error.message.contains(part),
            "{part:?} is missing in {error}"
        );
    };
    let other = |build: &mut pb::BuildOp| build.builder = 0;
    check(
        nested(inner(), other),
        "only LLB builder is currently allowed",
    )
    .await;
    let nothing = |build: &mut pb::BuildOp| build.inputs.clear();
    check(nested(inner(), nothing), "no llb definition input").await;
    check(
        nested(file("/x", ""), |_| {}),
        "failed to open buildkit.llb.definition",
    )
    .await;
    check(nested(file(&at, "no LLB"), |_| {}), "not an LLB definition").await;
    let twice = nested(inner(), |_| {}).encode();
    check(
        nested(file(&at, twice), |_| {}),
        "in the definition of another one",
    )
    .await;
}
