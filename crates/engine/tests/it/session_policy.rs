//! Policies of a client's session: what they are asked, and what becomes of their answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kiln_engine::{
    BuildError, BuildRequest, Engine, EngineOptions, ExportRequest, ExportTarget, Frontend,
};
use kiln_llb::build::{HttpOptions, MarshalOptions, State};
use kiln_protocol::frontend::ResolveSourceMetaRequest;
use kiln_protocol::pb::SourceOp;
use kiln_protocol::sourcepolicy::{Policy, PolicyAction, Rule, Selector};
use kiln_session::{
    Directories, JudgeSources, Session, SessionError, SourceAnswer, SourceQuestion,
};
use kiln_testkit::web::{Page, WebServer};

/// Answers by a function, and remembers what it was asked.
struct Judge<F> {
    answer: F,
    asked: Mutex<Vec<SourceQuestion>>,
}

#[async_trait::async_trait]
impl<F> JudgeSources for Judge<F>
where
    F: Fn(&SourceQuestion) -> Result<SourceAnswer, SessionError> + Send + Sync,
{
    async fn judge(&self, question: SourceQuestion) -> Result<SourceAnswer, SessionError> {
        let answer = (self.answer)(&question);
        self.asked.lock().unwrap().push(question);
        answer
    }
}

fn identifier(question: &SourceQuestion) -> &str {
    &question.source.source.as_ref().unwrap().identifier
}

/// Wants to know more about the source in question.
fn look_up(question: &SourceQuestion) -> ResolveSourceMetaRequest {
    ResolveSourceMetaRequest {
        source: question.source.source.clone(),
        ..ResolveSourceMetaRequest::default()
    }
}

fn more(request: ResolveSourceMetaRequest) -> Result<SourceAnswer, SessionError> {
    Ok(SourceAnswer::LookUp(Box::new(request)))
}

/// An engine, and a server with `/a` and `/b`, which are files with their names in them.
struct World {
    dir: tempfile::TempDir,
    engine: Engine,
    server: WebServer,
}

/// How a build ended, and what its policy was asked.
struct Judged {
    outcome: Result<String, BuildError>,
    asked: Vec<SourceQuestion>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions::new(dir.path().join("root"))).unwrap();
        let server = WebServer::start().unwrap();
        for path in ["/a", "/b"] {
            server.serve(path, Page::new(path));
        }
        Self {
            dir,
            engine,
            server,
        }
    }

    /// Builds the file `/a` under a policy.
    async fn build<F>(&self, answer: F) -> Judged
    where
        F: Fn(&SourceQuestion) -> Result<SourceAnswer, SessionError> + Send + Sync + 'static,
    {
        let options = HttpOptions {
            filename: "file".into(),
            ..HttpOptions::default()
        };
        let state = State::http(&self.server.url("/a"), options);
        let definition = state.marshal(&MarshalOptions::default()).unwrap();
        let frontend = Frontend::Definition(definition);
        self.run(BuildRequest::new(frontend, Session::empty()), answer)
            .await
    }

    async fn run<F>(&self, request: BuildRequest, answer: F) -> Judged
    where
        F: Fn(&SourceQuestion) -> Result<SourceAnswer, SessionError> + Send + Sync + 'static,
    {
        let asked = Mutex::default();
        let judge = Arc::new(Judge { answer, asked });
        let out = self.dir.path().join("out");
        let request = BuildRequest {
            exports: vec![ExportRequest {
                kind: "local".into(),
                attributes: BTreeMap::new(),
                target: ExportTarget::Directory(out.clone()),
            }],
            session_policy: Some(judge.clone()),
            ..request
        };
        let built = self.engine.build(request).await;
        let asked = std::mem::take(&mut *judge.asked.lock().unwrap());
        Judged {
            outcome: built.map(|_| std::fs::read_to_string(out.join("file")).unwrap()),
            asked,
        }
    }
}

impl Judged {
    fn expect_error(self, part: &str) -> BuildError {
        let error = self.outcome.unwrap_err();
        assert!(error.message.contains(part), "{part:?} is not in {error}");
        error
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_allowed_denied_and_replaced() {
    let world = World::new();
    let [a, b] = ["/a", "/b"].map(|path| world.server.url(path));

    let judged = world.build(|_| Ok(SourceAnswer::Allowed)).await;
    assert_eq!(judged.outcome.unwrap(), "/a");
    let source = judged.asked[0].source.source.as_ref().unwrap();
    assert_eq!(source.attrs["http.filename"], "file");
    assert_eq!(judged.asked.len(), 1);

    let reasons = ["not today", "nor tomorrow"];
    let answer =
        move |_: &SourceQuestion| Ok(SourceAnswer::Denied(reasons.map(str::to_owned).to_vec()));
    let error = world.build(answer).await.expect_error(&format!(
        "error evaluating the source policy: source {a:?} not allowed by policy: action DENY"
    ));
    assert_eq!(error.denials().collect::<Vec<_>>(), reasons);

    let replacement = SourceOp {
        identifier: b.clone(),
        attrs: [("http.filename".to_owned(), "file".to_owned())].into(),
    };
    let to_b = move |question: &SourceQuestion| match identifier(question) == replacement.identifier
    {
        true => Ok(SourceAnswer::Allowed),
        false => Ok(SourceAnswer::Replaced(replacement.clone())),
    };
    let judged = world.build(to_b.clone()).await;
    assert_eq!(judged.outcome.unwrap(), "/b");
    let asked: Vec<_> = judged.asked.iter().map(identifier).collect();
    assert_eq!(asked, [&a, &b]);

    let rule = Rule {
        action: PolicyAction::Deny.into(),
        selector: Some(Selector {
            identifier: b.clone(),
            ..Selector::default()
        }),
        ..Rule::default()
    };
    let state = State::http(&a, HttpOptions::default());
    let definition = state.marshal(&MarshalOptions::default()).unwrap();
    let request = BuildRequest {
        source_policy: Some(Policy {
            rules: vec![rule],
            ..Policy::default()
        }),
        ..BuildRequest::new(Frontend::Definition(definition), Session::empty())
    };
    let judged = world.run(request, to_b).await;
    judged.expect_error(&format!("source {b:?} denied by policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_have_sources_looked_up() {
    let world = World::new();
    let judged = world.build(|question| match &question.source.http {
        None => more(look_up(question)),
        Some(http) => Ok(SourceAnswer::Denied(vec![http.checksum.clone()])),
    });
    let error = judged.await.expect_error("action DENY");
    // Of the text "/a".
    let digest = "sha256:6a50dc8584134c7de537c0052ff6d236bf874355e050c90523e0c5ff2a543a28";
    assert_eq!(error.denials().collect::<Vec<_>>(), [digest]);

    let endless = world.build(|question| more(look_up(question))).await;
    assert_eq!(endless.asked.len(), 10);
    endless.expect_error("too many policy requests");

    let foreign = world.build(|question| {
        let mut request = look_up(question);
        request.source.as_mut().unwrap().identifier = "https://else.invalid/".into();
        more(request)
    });
    foreign
        .await
        .expect_error("policy requested different source identifier: \"https://else.invalid/\"");

    let changed = world.build(|question| {
        let mut request = look_up(question);
        request.source.as_mut().unwrap().attrs.clear();
        more(request)
    });
    changed
        .await
        .expect_error("policy requested different source attrs: \"http.filename\" differs");

    let broken = world.build(|_| {
        Err(SessionError::Malformed {
            what: "policy".into(),
            reason: "no decision in policy response".into(),
        })
    });
    let source = format!("source {:?}: policy: no decision", world.server.url("/a"));
    broken.await.expect_error(&source);
}

#[tokio::test(flavor = "multi_thread")]
async fn frontends_ask_for_nothing_that_is_denied() {
    let world = World::new();
    let context = world.dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM base.invalid/image\n").unwrap();
    let directories = ["context", "dockerfile"].map(|name| (name.to_owned(), context.clone()));
    let session = Session {
        files: Arc::new(Directories {
            directories: directories.into(),
            ..Directories::default()
        }),
        ..Session::empty()
    };
    let request = || BuildRequest::new(Frontend::Dockerfile, session.clone());
    let judged = world.run(request(), |question| {
        match identifier(question).starts_with("local://") {
            true => Ok(SourceAnswer::Allowed),
            false => Ok(SourceAnswer::Denied(Vec::new())),
        }
    });
    let judged = judged.await;
    let last = judged.asked.last().unwrap();
    assert_eq!(last.platform.as_ref().unwrap().os, "linux");
    let error = judged.expect_error(
        "could not resolve image due to policy: source \"docker-image://base.invalid/image:latest\" not allowed",
    );
    assert_eq!(error.denials().count(), 0);
}
