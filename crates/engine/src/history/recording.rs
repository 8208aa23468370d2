//! One build on its way into the history.

use std::sync::Arc;

use kiln_protocol::control::{BuildHistoryRecord, Exporter};
use kiln_session::progress::{Progress, ProgressSink, Update};
use prost_types::Timestamp;
use tokio::sync::oneshot;

use super::live::Finalizer;
use super::log::LiveLog;
use super::queue::Queue;
use super::writer::{BuildKey, Completion, Job, Opening};
use super::{History, redact};
use crate::error::{BuildError, Kind};
use crate::request::{BuildOutcome, BuildRequest, Recorded};

/// How long a finished build's record waits for spans that its client still
/// sends.
const SPAN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// How long the progress of a build without record can be had after its end.
const LATE: std::time::Duration = std::time::Duration::from_secs(10);

/// A build that is being recorded. Dropped before it is finished, the build
/// counts as cancelled.
pub(crate) struct Recording {
    history: History,
    build: String,
    /// `None` once it is finished, or if nothing is recorded.
    key: Option<BuildKey>,
    /// Set if spans of the client may follow.
    finalizer: Option<Arc<Finalizer>>,
    /// Set if no record will tell of the build.
    unlisted: Option<Arc<LiveLog>>,
}

impl History {
    /// Begins the record of a build, which from now on reports through it.
    pub(crate) fn begin(&self, request: &mut BuildRequest) -> Recording {
        let mut recording = Recording {
            history: self.clone(),
            build: request.id.clone(),
            key: None,
            finalizer: None,
            unlisted: None,
        };
        let log = Arc::new(LiveLog::new());
        {
            let mut live = self.shared.live.lock();
            // The engine refuses a second build of a name; the first one goes on.
            if live.logs.contains_key(&request.id) {
                return recording;
            }
            live.logs.insert(request.id.clone(), log.clone());
        }
        let is_listed = request.recorded == Recorded::Listed;
        recording.unlisted = (!is_listed).then(|| log.clone());
        if let Some(trace) = request.trace.filter(|_| is_listed) {
            self.shared.spans.expect(trace);
            recording.finalizer = Some(Finalizer::new());
        }
        let key = self.writer.new_key();
        recording.key = Some(key);
        let queue = self.writer.queue();
        let opening = Opening {
            record: record(request),
            log,
            trace: request.trace,
            is_listed,
        };
        queue.push(Job::Open(key, Box::new(opening)), 0);
        let client = std::mem::replace(&mut request.progress, Arc::new(Ended));
        request.progress = Arc::new(Tee { client, key, queue });
        self.shared.announce_change();
        recording
    }
}

/// The record as it stands when the build begins.
fn record(request: &BuildRequest) -> BuildHistoryRecord {
    let exporters = request.exports.iter().map(|export| Exporter {
        r#type: export.kind.clone(),
        attrs: redact::attributes(&export.attributes),
    });
    BuildHistoryRecord {
        r#ref: request.id.clone(),
        frontend: request.frontend.name().to_owned(),
        frontend_attrs: redact::attributes(&request.options),
        exporters: exporters.collect(),
        created_at: Some(Timestamp::from(std::time::SystemTime::now())),
        ..BuildHistoryRecord::default()
    }
}

impl Recording {
    /// Ends the record with what the build came to; returns once it is written.
    pub(crate) async fn finish(
        mut self,
        outcome: &Result<BuildOutcome, BuildError>,
        account: Option<Vec<u8>>,
    ) {
        let completion = match outcome {
            Ok(outcome) => Completion {
                response: outcome.response.clone(),
                descriptors: outcome.descriptors.clone(),
                provenance: outcome.provenance.clone(),
                error: None,
                account,
            },
            Err(error) => Completion {
                error: Some(error.clone()),
                account,
                ..Completion::default()
            },
        };
        let (done, written) = oneshot::channel();
        self.end(completion, Some(done));
        // The writer answers, or is gone with what it could not write.
        let _ = written.await;
    }

    fn end(&mut self, completion: Completion, done: Option<oneshot::Sender<()>>) {
        let Some(key) = self.key.take() else {
            return;
        };
        let queue = self.history.writer.queue();
        if let Some(log) = self.unlisted.take() {
            keep_for_late_readers(&self.history, &self.build, log);
        }
        let finalizer = self.finalizer.take();
        if let Some(finalizer) = &finalizer {
            let mut live = self.history.shared.live.lock();
            live.finalizers
                .insert(self.build.clone(), finalizer.clone());
        }
        queue.push(Job::Close(key, Box::new(completion), done), 0);
        let Some(finalizer) = finalizer else {
            return;
        };
        let build = self.build.clone();
        let complete = async move {
            tokio::select! {
                () = tokio::time::sleep(SPAN_PATIENCE) => {}
                () = finalizer.hurry.notified() => {}
            }
            queue.push(Job::Trace(build), 0);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(complete)),
            // The program is ending: what is here must do.
            Err(_) => {
                let queue = self.history.writer.queue();
                queue.push(Job::Trace(self.build.clone()), 0);
            }
        }
    }
}

/// Without a runtime the program is ending, and nobody can be late.
fn keep_for_late_readers(history: &History, build: &str, log: Arc<LiveLog>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let (shared, build) = (Arc::downgrade(&history.shared), build.to_owned());
    let mut live = history.shared.live.lock();
    live.late.insert(build.clone(), log.clone());
    runtime.spawn(async move {
        tokio::time::sleep(LATE).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let late = &mut shared.live.lock().late;
        // A later build of the same name is kept for its own time.
        if late.get(&build).is_some_and(|kept| Arc::ptr_eq(kept, &log)) {
            late.remove(&build);
        }
    });
}

impl Drop for Recording {
    fn drop(&mut self) {
        let error = BuildError::new(Kind::Cancelled, "context canceled");
        let completion = Completion {
            error: Some(error),
            ..Completion::default()
        };
        self.end(completion, None);
    }
}

/// Passes news on to the client and to the log.
struct Tee {
    client: ProgressSink,
    key: BuildKey,
    queue: Arc<Queue<Job>>,
}

impl Progress for Tee {
    fn update(&self, update: Update) {
        let size = size_of_update(&update);
        self.queue.push(Job::News(self.key, update.clone()), size);
        self.client.update(update);
    }
}

/// Stands in for a sink while it is wrapped.
struct Ended;

impl Progress for Ended {
    fn update(&self, _update: Update) {}
}

/// Roughly the memory an update takes.
fn size_of_update(update: &Update) -> usize {
    let logs: usize = update.logs.iter().map(|log| log.data.len()).sum();
    let items = update.vertexes.len() + update.statuses.len() + update.logs.len();
    let warnings = update.warnings.iter().map(|warning| {
        let source = warning.source.as_ref().map_or(0, |file| file.data.len());
        source + 512
    });
    logs + 256 * items + warnings.sum::<usize>()
}
