//! The history of builds: a record of each, with its log and its trace, kept
//! by age and number.
//!
//! Records are rows of the store's database in the form of BuildKit's API,
//! their logs, traces and errors are blobs of its content store. While a build
//! runs, its log grows in a file of its own, from which any number of readers
//! follow it. All writing is done by one thread: a build waits for it once, at
//! its end, until its record is written. What fails there is logged and never
//! fails a build.

mod accounts;
mod error;
mod filter;
mod live;
mod log;
mod orphans;
mod queue;
mod redact;
mod results;
mod retain;
mod span_json;
mod table;
mod tally;
mod trace;
mod update;
mod wire;

mod listen;
mod recording;
mod status;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kiln_store::Store;
use tokio::sync::watch;

use crate::error::{BuildError, Kind};
use live::LiveBuilds;
use table::Table;
use trace::SpanPool;
use writer::Writer;

pub use error::HistoryError;
pub use listen::{ListenOptions, Listener, Scope, Until};
pub(crate) use redact::url as mask_url;
pub use status::StatusStream;
pub use trace::TraceContext;
pub use wire::status_response;

/// Where logs of running builds lie, below the root.
const SPOOLS: &str = "history";

/// How the history is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Records older than this go, unless they are among the newest ones.
    pub max_age: Duration,
    /// How many of the newest records stay whatever their age. Pinned ones do
    /// not count.
    pub max_entries: usize,
    /// Bytes of a build's log after which its output is not recorded.
    pub max_log: u64,
    /// What records say of where results come from.
    pub attestations: RecordedAttestations,
}

/// What records say of where results come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordedAttestations {
    /// Nothing: it is not free.
    #[default]
    None,
    /// SLSA provenance of each result, which docker buildx shows.
    Provenance,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(48 * 60 * 60),
            max_entries: 50,
            max_log: 2 << 30,
            attestations: RecordedAttestations::None,
        }
    }
}

/// The history of all builds on one root. Cheap to clone.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

/// What readers and the writing thread have in common.
struct Shared {
    store: Store,
    table: Table,
    spools: PathBuf,
    options: HistoryOptions,
    live: LiveBuilds,
    /// Tells listeners to look again.
    changes: watch::Sender<()>,
    spans: SpanPool,
}

impl History {
    /// Opens the history of a store. Builds that a killed process left
    /// unfinished are closed in the background.
    pub(crate) fn open(store: &Store, options: HistoryOptions) -> Result<Self, BuildError> {
        let environment = |error| BuildError::wrap(Kind::Environment, error);
        let table = Table::open(store.database().clone());
        let table = table.map_err(|error| environment(HistoryError::from(error)))?;
        let spools = store.root().join(SPOOLS);
        let made = std::fs::create_dir_all(&spools);
        made.map_err(|error| environment(HistoryError::log(&spools, error)))?;
        let shared = Arc::new(Shared {
            store: store.clone(),
            table,
            spools,
            options,
            live: LiveBuilds::default(),
            changes: watch::Sender::new(()),
            spans: SpanPool::default(),
        });
        let writer = Writer::start(shared.clone()).map_err(environment)?;
        Ok(Self {
            shared,
            writer: Arc::new(writer),
        })
    }
}

impl History {
    pub(crate) fn wants_provenance(&self) -> bool {
        self.shared.options.attestations == RecordedAttestations::Provenance
    }
}

impl Shared {
    fn announce_change(&self) {
        self.changes.send_replace(());
    }
}

/// Runs work that blocks on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, HistoryError> {
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|_| HistoryError::Closed)?
}
