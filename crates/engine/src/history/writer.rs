//! The thread that writes the history.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use kiln_protocol::control::{BuildHistoryRecord, Descriptor};
use kiln_session::progress::Update;
use kiln_store::Store;
use kiln_store::lease::Lease;
use prost_types::Timestamp;
use serde_json::Value;
use tokio::sync::oneshot;

use super::log::{self, LiveLog, LogWriter};
use super::queue::Queue;
use super::tally::Tally;
use super::trace::{self, TraceContext};
use super::wire::status_response;
use super::{HistoryError, Shared, results};
use crate::error::BuildError;
use crate::explain::MEDIA_TYPE;
use crate::request::{Attributes, Provenance};
use crate::wire_error;

/// Names a build of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BuildKey(u64);

/// Work for the thread.
pub(super) enum Job {
    /// A build begins.
    Open(BuildKey, Box<Opening>),
    /// It reports.
    News(BuildKey, Update),
    /// It is over; told when that is written.
    Close(BuildKey, Box<Completion>, Option<oneshot::Sender<()>>),
    /// No more spans are expected of this build.
    Trace(String),
}

/// How a build begins.
pub(super) struct Opening {
    pub(super) record: BuildHistoryRecord,
    pub(super) log: Arc<LiveLog>,
    pub(super) trace: Option<TraceContext>,
    pub(super) is_listed: bool,
}

/// How a build ends.
#[derive(Default)]
pub(super) struct Completion {
    pub(super) response: Attributes,
    pub(super) descriptors: std::collections::BTreeMap<usize, oci_spec::image::Descriptor>,
    pub(super) provenance: Vec<Provenance>,
    pub(super) error: Option<BuildError>,
    /// Why steps ran.
    pub(super) account: Option<Vec<u8>>,
}

/// The handle of the thread, which ends when it is dropped.
pub(super) struct Writer {
    queue: Arc<Queue<Job>>,
    thread: Option<JoinHandle<()>>,
    keys: AtomicU64,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, HistoryError> {
        let queue = Arc::new(Queue::new());
        let work = Work {
            shared,
            builds: HashMap::new(),
            traces: HashMap::new(),
        };
        let jobs = queue.clone();
        let thread = std::thread::Builder::new()
            .name("kiln-history".to_owned())
            .spawn(move || work.run(&jobs))
            .map_err(|error| HistoryError::log(Path::new("thread"), error))?;
        Ok(Self {
            queue,
            thread: Some(thread),
            keys: AtomicU64::new(0),
        })
    }

    pub(super) fn queue(&self) -> Arc<Queue<Job>> {
        self.queue.clone()
    }

    pub(super) fn new_key(&self) -> BuildKey {
        BuildKey(self.keys.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    shared: Arc<Shared>,
    builds: HashMap<BuildKey, OpenBuild>,
    /// Spans of finished builds whose clients may send more.
    traces: HashMap<String, (TraceContext, Vec<Value>)>,
}

/// A build under way.
struct OpenBuild {
    record: BuildHistoryRecord,
    live: Arc<LiveLog>,
    log: Option<LogWriter>,
    tally: Tally,
    trace: Option<TraceContext>,
    /// Keeps its blobs, and tells other processes that it runs.
    lease: Option<Lease>,
    is_listed: bool,
}

impl Work {
    fn run(mut self, queue: &Queue<Job>) {
        let left_over = self.shared.close_orphans();
        if let Err(error) = left_over.and_then(|()| self.shared.sweep_spools()) {
            tracing::warn!(%error, "cannot clean up after builds that were killed");
        }
        while let Some(jobs) = queue.take() {
            for job in jobs {
                self.perform(job);
            }
            for build in self.builds.values_mut() {
                if let Some(log) = &mut build.log {
                    log.flush();
                }
            }
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Open(key, opening) => {
                let build = self.open(*opening);
                self.builds.insert(key, build);
            }
            Job::News(key, update) => {
                // News of a build that is over already have no place to go.
                if let Some(build) = self.builds.get_mut(&key) {
                    let message = status_response(update);
                    build.tally.add(&message);
                    if let Some(log) = &mut build.log {
                        log.append(&message);
                    }
                }
            }
            Job::Close(key, completion, done) => {
                if let Some(build) = self.builds.remove(&key) {
                    self.close(build, *completion);
                }
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
            Job::Trace(build) => self.complete_trace(&build),
        }
    }

    fn open(&self, opening: Opening) -> OpenBuild {
        let mut build = OpenBuild {
            record: opening.record,
            live: opening.log,
            log: None,
            tally: Tally::default(),
            trace: opening.trace,
            lease: None,
            is_listed: opening.is_listed,
        };
        if let Err(error) = self.try_open(&mut build) {
            let name = &build.record.r#ref;
            tracing::warn!(build = %name, %error, "a build is not recorded");
            build.is_listed = false;
        }
        self.shared.announce_change();
        build
    }

    fn try_open(&self, build: &mut OpenBuild) -> Result<(), HistoryError> {
        let lease = build.lease.insert(self.shared.store.lease()?);
        let path = self.shared.spools.join(lease.id());
        let log = LogWriter::create(
            build.live.clone(),
            path.clone(),
            self.shared.options.max_log,
        );
        build.log = Some(log.map_err(|error| HistoryError::log(&path, error))?);
        if build.is_listed {
            self.shared.table.start(&build.record, lease.id())?;
        }
        Ok(())
    }

    fn close(&mut self, mut build: OpenBuild, completion: Completion) {
        if let Some(log) = &mut build.log {
            log.finish();
        }
        let name = build.record.r#ref.clone();
        if build.is_listed
            && let Err(error) = self.record(&mut build, completion)
        {
            tracing::warn!(build = %name, %error, "how a build ended is not recorded");
        }
        if let Some(log) = &build.log {
            // If it stays, it is found again when the next engine starts.
            let _ = std::fs::remove_file(log.path());
        }
        self.shared.live.lock().logs.remove(&name);
        build.live.end();
        self.shared.announce_change();
    }

    fn record(
        &mut self,
        build: &mut OpenBuild,
        completion: Completion,
    ) -> Result<(), HistoryError> {
        let store = &self.shared.store;
        let mut ending = Ending::new(std::mem::take(&mut build.record));
        ending.count(&build.tally);
        ending.record.exporter_response = completion.response;
        if let Some(log) = &build.log {
            ending.keep_log(store, log.path(), log.length())?;
        }
        let (result, blobs) = results::of_outputs(store, &completion.descriptors);
        ending.record.result = result;
        ending.blobs.extend(blobs);
        for provenance in completion.provenance {
            ending.attest(store, provenance)?;
        }
        if let Some(account) = completion.account {
            let blob = results::put(store, MEDIA_TYPE, &account)?;
            ending.record.kiln_facts = ending.keep(blob);
        }
        if let Some(error) = completion.error {
            ending.fail(store, wire_error::to_rpc(&error, |_| String::new()))?;
        }
        let own = trace::of_steps(build.trace, &ending.record, build.tally.steps());
        match build.trace {
            Some(context) => {
                let name = ending.record.r#ref.clone();
                self.traces.insert(name, (context, own));
            }
            None => ending.keep_trace(store, &own)?,
        }
        if let Some(lease) = &build.lease {
            let table = &self.shared.table;
            table.complete(&ending.record, lease.id(), &ending.blobs)?;
        }
        Ok(())
    }

    /// Adds the spans that the client has sent to those of a finished build.
    fn complete_trace(&mut self, build: &str) {
        if let Some((context, own)) = self.traces.remove(build) {
            let mut spans = self.shared.spans.take(context);
            spans.extend(own);
            if let Err(error) = self.update_trace(build, &spans) {
                tracing::warn!(%build, %error, "the trace of a build is not recorded");
            }
        }
        let finalizer = self.shared.live.lock().finalizers.remove(build);
        if let Some(finalizer) = finalizer {
            finalizer.done.send_replace(true);
        }
        self.shared.announce_change();
    }

    fn update_trace(&self, build: &str, spans: &[Value]) -> Result<(), HistoryError> {
        let _lease = self.shared.store.lease()?;
        let mut ending = Ending::new(BuildHistoryRecord::default());
        ending.keep_trace(&self.shared.store, spans)?;
        let trace = ending.record.trace;
        self.shared
            .table
            .update(build, &ending.blobs, |record| record.trace = trace)?;
        Ok(())
    }
}

/// A record that is being completed, and the blobs that belong to it.
pub(super) struct Ending {
    pub(super) record: BuildHistoryRecord,
    pub(super) blobs: Vec<String>,
}

impl Ending {
    pub(super) fn new(mut record: BuildHistoryRecord) -> Self {
        record.completed_at = Some(Timestamp::from(SystemTime::now()));
        Self {
            record,
            blobs: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, tally: &Tally) {
        let counts = tally.counts();
        self.record.num_total_steps = counts.total;
        self.record.num_completed_steps = counts.completed;
        self.record.num_cached_steps = counts.cached;
        self.record.num_warnings = counts.warnings;
    }

    fn keep(&mut self, blob: Descriptor) -> Option<Descriptor> {
        self.blobs.push(blob.digest.clone());
        Some(blob)
    }

    /// Makes a blob of the first `length` bytes of a log.
    pub(super) fn keep_log(
        &mut self,
        store: &Store,
        path: &Path,
        length: u64,
    ) -> Result<(), HistoryError> {
        let failed = |error| HistoryError::log(path, error);
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut writer = store.content().writer(None)?;
        std::io::copy(&mut file.take(length), &mut writer).map_err(failed)?;
        let blob = writer.commit()?;
        let descriptor = Descriptor {
            media_type: log::MEDIA_TYPE.to_owned(),
            digest: blob.digest.to_string(),
            size: i64::try_from(blob.size).unwrap_or(i64::MAX),
            ..Descriptor::default()
        };
        self.record.logs = self.keep(descriptor);
        Ok(())
    }

    pub(super) fn fail(
        &mut self,
        store: &Store,
        status: kiln_protocol::rpc::Status,
    ) -> Result<(), HistoryError> {
        let (status, whole) = results::failure(store, status)?;
        self.record.error = Some(status);
        self.record.external_error = self.keep(whole);
        Ok(())
    }

    fn attest(&mut self, store: &Store, provenance: Provenance) -> Result<(), HistoryError> {
        let mut blob = results::put(store, results::ATTESTATION_TYPE, &provenance.predicate)?;
        let kind = provenance.predicate_type.to_owned();
        blob.annotations
            .insert(results::PREDICATE_TYPE.to_owned(), kind);
        self.blobs.push(blob.digest.clone());
        let of = match provenance.platform {
            Some(platform) => self.record.results.entry(platform).or_default(),
            None => self.record.result.get_or_insert_default(),
        };
        of.attestations.push(blob);
        Ok(())
    }

    fn keep_trace(&mut self, store: &Store, spans: &[Value]) -> Result<(), HistoryError> {
        let blob = results::put(store, trace::MEDIA_TYPE, &trace::encode(spans))?;
        self.record.trace = self.keep(blob);
        Ok(())
    }
}
