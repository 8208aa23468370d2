//! The engine without a command line around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_engine::{
    BuildRequest, Engine, EngineOptions, ExportRequest, ExportTarget, Frontend, Kind, WorkerInfo,
};
use kiln_llb::build::{Constraints, FileActions, MakeFile, MarshalOptions, State};
use kiln_session::{Directories, Session};

/// A request to build a Dockerfile of `context` into `out`.
fn request(context: &std::path::Path, out: &std::path::Path) -> BuildRequest {
    let directories =
        ["context", "dockerfile"].map(|name| (name.to_owned(), context.to_path_buf()));
    let files = Directories {
        directories: directories.into(),
        ..Directories::default()
    };
    let session = Session {
        files: Arc::new(files),
        ..Session::empty()
    };
    BuildRequest {
        exports: vec![ExportRequest {
            kind: "local".into(),
            attributes: BTreeMap::new(),
            target: ExportTarget::Directory(out.into()),
        }],
        ..BuildRequest::new(Frontend::Dockerfile, session)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_at_once_share_one_engine() {
    let dir = tempfile::tempdir().unwrap();
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY f /g\n").unwrap();
    std::fs::write(context.join("f"), "content").unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap();
    let builds = (0..8).map(|n| {
        let out = dir.path().join(format!("out{n}"));
        engine.build(request(&context, &out))
    });
    for outcome in futures::future::join_all(builds).await {
        outcome.unwrap();
    }
    for n in 0..8 {
        let file = dir.path().join(format!("out{n}/g"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "content");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_who_must_act_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap();
    let check = async |dockerfile: &str, line: Option<i32>, part: &str| {
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let error = engine
            .build(request(&context, &dir.path().join("out")))
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Input, "{error}");
        assert!(
            error.message.contains(part),
            "{part:?} is missing in {error}"
        );
        let found = error.locations.first().and_then(|it| it.ranges.first());
        assert_eq!(found.map(|range| range.start.line), line, "{error}");
    };
    check(
        "FROM scratch\n\nCOPY nothing /\n",
        Some(3),
        "\"/nothing\": not found",
    )
    .await;
    check("FROM scratch\nRUM x\n", Some(2), "unknown instruction: RUM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passthrough_hands_on_one_input_and_needs_all() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap();
    let out = dir.path().join("out");
    let file = |name: &str| {
        let mut actions = FileActions::new();
        actions.make_file(MakeFile {
            path: name.to_owned(),
            mode: 0o644,
            data: name.to_owned().into(),
            ..MakeFile::default()
        });
        State::scratch().file(actions, Constraints::new())
    };
    let build = |needed: State| {
        let state = file("/one").requires("id", &[needed]);
        let definition = state.marshal(&MarshalOptions::default()).unwrap();
        engine.build(BuildRequest {
            frontend: Frontend::Definition(definition),
            ..request(dir.path(), &out)
        })
    };
    build(file("/two")).await.unwrap();
    let files = std::fs::read_dir(&out).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["one"]);
    let error = build(file("/no/such/directory/f")).await.unwrap_err();
    assert!(error.message.contains("/no/such/directory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_filters_are_about_the_one_worker() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap();
    let engine = engine.presented_as(WorkerInfo {
        id: "w1".into(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
    });
    let out = dir.path().join("out");
    for (filters, expected) in [
        (&["labels.zone==a"][..], ""),
        (&["id==w1,labels.zone"], ""),
        (&["id==w2", "id==w1"], ""),
        (&["labels.zone==b"], "the only worker, w1, does not match"),
        (&["id=="], "worker filter \"id==\": "),
    ] {
        let mut actions = FileActions::new();
        actions.make_file(MakeFile {
            path: "/f".into(),
            mode: 0o644,
            ..MakeFile::default()
        });
        let constraints = Constraints {
            worker_filters: filters.iter().map(|it| (*it).to_owned()).collect(),
            ..Constraints::new()
        };
        let state = State::scratch().file(actions, constraints);
        let definition = state.marshal(&MarshalOptions::default()).unwrap();
        let built = engine.build(BuildRequest {
            frontend: Frontend::Definition(definition),
            ..request(dir.path(), &out)
        });
        match built.await {
            Ok(_) => assert_eq!(expected, "", "{filters:?}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!expected.is_empty() && text.contains(expected), "{text}");
            }
        }
    }
}
