//! An engine with a context, builds that wait in the middle, and what the
//! history says of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_engine::history::{ListenOptions, StatusStream, Until, status_response};
use kiln_engine::{
    BuildError, BuildOutcome, BuildRequest, Engine, EngineOptions, ExportRequest, ExportTarget,
    Frontend, HistoryOptions,
};
use kiln_protocol::control::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, StatusResponse,
};
use kiln_session::progress::{Progress, Update};
use kiln_session::{Directories, Session};
use tokio::sync::oneshot;

/// Builds a file of the context, in two steps.
pub(crate) const GOOD: &str = "FROM scratch AS base\nCOPY f /g\nFROM base\nCOPY f /h\n";
pub(crate) const BAD: &str = "FROM scratch\nCOPY nothing /\n";

pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) engine: Engine,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(HistoryOptions::default())
    }

    pub(crate) fn with(history: HistoryOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("f"), "content").unwrap();
        let engine = open(&dir.path().join("root"), history);
        Self { dir, engine }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    /// A second engine on the same root.
    pub(crate) fn another(&self) -> Engine {
        open(&self.root(), HistoryOptions::default())
    }

    pub(crate) fn request(&self, dockerfile: &str) -> BuildRequest {
        request(&self.context(), dockerfile)
    }

    /// Builds, and answers the build's name with the outcome.
    pub(crate) async fn build(
        &self,
        dockerfile: &str,
    ) -> (String, Result<BuildOutcome, BuildError>) {
        let request = self.request(dockerfile);
        let name = request.id.clone();
        (name, self.engine.build(request).await)
    }

    pub(crate) async fn record(&self, build: &str) -> BuildHistoryRecord {
        record(&self.engine, build).await
    }
}

pub(crate) fn open(root: &Path, history: HistoryOptions) -> Engine {
    let options = EngineOptions {
        history,
        ..EngineOptions::new(root)
    };
    Engine::open(options).unwrap()
}

/// A request to build a Dockerfile on a context.
pub(crate) fn request(context: &Path, dockerfile: &str) -> BuildRequest {
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let directories = ["context", "dockerfile"].map(|name| (name.to_owned(), context.to_owned()));
    let files = Directories {
        directories: directories.into(),
        ..Directories::default()
    };
    let session = Session {
        files: Arc::new(files),
        ..Session::empty()
    };
    BuildRequest::new(Frontend::Dockerfile, session)
}

pub(crate) fn export(
    kind: &str,
    attributes: &[(&str, &str)],
    target: ExportTarget,
) -> ExportRequest {
    let attributes = attributes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ExportRequest {
        kind: kind.into(),
        attributes: attributes.collect::<BTreeMap<_, _>>(),
        target,
    }
}

/// Events until the listener has told of what there is.
pub(crate) async fn listed(engine: &Engine, options: ListenOptions) -> Vec<BuildHistoryEvent> {
    let options = ListenOptions {
        until: Until::Listed,
        ..options
    };
    let mut listener = engine.history().listen(options).unwrap();
    let mut events = Vec::new();
    while let Some(event) = listener.next().await {
        events.push(event.unwrap());
    }
    events
}

/// The names in finished records, in the order told.
pub(crate) async fn finished(engine: &Engine, options: ListenOptions) -> Vec<String> {
    let events = listed(engine, options).await;
    let finished = events
        .into_iter()
        .filter(|event| event.r#type() == BuildHistoryEventType::Complete);
    finished.map(|event| event.record.unwrap().r#ref).collect()
}

/// A finished build's record.
pub(crate) async fn record(engine: &Engine, build: &str) -> BuildHistoryRecord {
    let options = ListenOptions {
        build: Some(build.to_owned()),
        ..ListenOptions::default()
    };
    let mut events = listed(engine, options).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    assert_eq!(event.r#type(), BuildHistoryEventType::Complete);
    event.record.unwrap()
}

/// The kind of an event with the build's name.
pub(crate) fn told(event: &BuildHistoryEvent) -> (BuildHistoryEventType, &str) {
    (event.r#type(), &event.record.as_ref().unwrap().r#ref)
}

/// All messages of a build, joined into one.
pub(crate) async fn replayed(engine: &Engine, build: &str) -> StatusResponse {
    let status = engine.history().status(build, Duration::ZERO).await;
    rest(status.unwrap()).await
}

pub(crate) async fn rest(mut stream: StatusStream) -> StatusResponse {
    let mut all = StatusResponse::default();
    while let Some(message) = stream.next().await {
        join(&mut all, message.unwrap());
    }
    all
}

pub(crate) fn join(all: &mut StatusResponse, message: StatusResponse) {
    all.vertexes.extend(message.vertexes);
    all.statuses.extend(message.statuses);
    all.logs.extend(message.logs);
    all.warnings.extend(message.warnings);
}

/// A client that remembers all it is told.
#[derive(Default)]
pub(crate) struct Memory(Mutex<StatusResponse>);

impl Progress for Memory {
    fn update(&self, update: Update) {
        join(&mut self.0.lock().unwrap(), status_response(update));
    }
}

impl Memory {
    pub(crate) fn all(&self) -> StatusResponse {
        self.0.lock().unwrap().clone()
    }
}

/// An output that stops its build until it is let go.
pub(crate) struct Gate {
    reached: Option<oneshot::Sender<()>>,
    open: std::sync::mpsc::Receiver<()>,
}

/// The other end of a gate.
pub(crate) struct Key {
    reached: oneshot::Receiver<()>,
    open: std::sync::mpsc::Sender<()>,
}

pub(crate) fn gate() -> (Gate, Key) {
    let (reached_sender, reached) = oneshot::channel();
    let (open_sender, open) = std::sync::mpsc::channel();
    let gate = Gate {
        reached: Some(reached_sender),
        open,
    };
    let key = Key {
        reached,
        open: open_sender,
    };
    (gate, key)
}

impl Key {
    /// Waits until the build has come to the gate.
    pub(crate) async fn reached(&mut self) {
        (&mut self.reached).await.unwrap();
    }

    pub(crate) fn open(self) {
        self.open.send(()).unwrap();
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(reached) = self.reached.take() {
            let _ = reached.send(());
            // A key that is gone opens, too.
            let _ = self.open.recv();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lets a build wait at its output.
pub(crate) fn gated(mut request: BuildRequest) -> (BuildRequest, Key) {
    let (gate, key) = gate();
    let target = ExportTarget::Stream(Box::new(gate));
    request.exports.push(export("tar", &[], target));
    (request, key)
}
