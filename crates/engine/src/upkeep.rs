//! Upkeep of the store that nobody has to ask for, beside builds and between
//! them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use kiln_store::gc::UsageRecord;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::collect::{Collected, Collector, Gauge};
use crate::engine::blocking;
use crate::error::BuildError;
use crate::gc::{GcPolicy, Upkeep};

/// How long after one upkeep the next build begins another, and how long an
/// engine that stays goes without one at most.
const PERIOD: Duration = Duration::from_secs(10 * 60);

/// How long an engine that stays waits after a build for the next one.
const QUIET: Duration = Duration::from_secs(1);

/// How often it looks after its store between builds, at most.
const INTERVAL: Duration = Duration::from_secs(60);

/// How often the space is looked at that builds take while they run.
const TICK: Duration = Duration::from_secs(1);

/// Its modification time says when the last upkeep began, in any process.
const MARKER: &str = "collected";

/// Looks after a store.
pub(crate) struct Caretaker {
    shared: Arc<Shared>,
    /// What goes on as long as the engine is open.
    always: Option<AbortHandle>,
    mode: Upkeep,
}

struct Shared {
    collector: Collector,
    state: Mutex<State>,
    gauge: Mutex<Option<Gauge>>,
    /// Held by whoever looks at the limits.
    looking: Mutex<()>,
    build_ended: Notify,
}

#[derive(Default)]
struct State {
    builds: usize,
    /// Watches the limits while builds run.
    watch: Option<AbortHandle>,
}

impl Caretaker {
    /// Begins to look after a store. Must be called within a tokio runtime.
    pub(crate) fn start(collector: Collector, mode: Upkeep) -> Self {
        let shared = Arc::new(Shared {
            collector,
            state: Mutex::default(),
            gauge: Mutex::default(),
            looking: Mutex::default(),
            build_ended: Notify::new(),
        });
        let always = match mode {
            Upkeep::BesideBuilds => None,
            Upkeep::Always => {
                let task = tokio::spawn(look_after(shared.clone()));
                Some(task.abort_handle())
            }
        };
        Self {
            shared,
            always,
            mode,
        }
    }

    /// Called when a build begins, which lasts as long as the answer lives.
    pub(crate) fn begin_build(&self) -> RunningBuild {
        if self.mode == Upkeep::BesideBuilds {
            self.begin_if_due();
        }
        let mut state = lock(&self.shared.state);
        state.builds += 1;
        if state.builds == 1 {
            let task = tokio::spawn(watch(Arc::downgrade(&self.shared)));
            state.watch = Some(task.abort_handle());
        }
        drop(state);
        RunningBuild(self.shared.clone())
    }

    /// Does upkeep beside the build that begins. A build never waits for the
    /// disk itself: results that a power failure takes are made again.
    fn begin_if_due(&self) {
        if is_due(&self.shared.marker()) {
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || shared.collector.upkeep());
        }
    }

    /// Removes what nobody uses if the store is over its limits.
    pub(crate) async fn collect(&self) -> Result<Vec<UsageRecord>, BuildError> {
        let shared = self.shared.clone();
        blocking(move || shared.collector.collect()).await
    }

    /// Brings the store within its limits, as far as what is in use allows.
    /// Called before something is written: so no more is over a limit than what
    /// is being written at one time. Waits for nothing if the store is within.
    pub(crate) async fn make_room(&self) {
        let shared = self.shared.clone();
        // An engine that ends needs no room.
        let _ = tokio::task::spawn_blocking(move || shared.look()).await;
    }

    /// The rules of garbage collection.
    pub(crate) fn policies(&self) -> Result<Vec<GcPolicy>, BuildError> {
        self.shared.collector.policies()
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        if let Some(task) = &self.always {
            task.abort();
        }
    }
}

/// A build that runs; dropped when it ends.
pub(crate) struct RunningBuild(Arc<Shared>);

impl Drop for RunningBuild {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.builds -= 1;
        if state.builds == 0
            && let Some(watch) = state.watch.take()
        {
            watch.abort();
        }
        drop(state);
        // What it used may go now.
        if let Some(gauge) = &mut *lock(&self.0.gauge) {
            gauge.be_hopeful();
        }
        self.0.build_ended.notify_one();
    }
}

impl Shared {
    /// Looks whether the store is within its limits, and sees to it. Blocks.
    fn look(&self) {
        let _alone = lock(&self.looking);
        let before = *lock(&self.gauge);
        match self.collector.collect_if_over(before) {
            Ok(Collected { removed, gauge }) => {
                *lock(&self.gauge) = gauge;
                if !removed.is_empty() {
                    let bytes: u64 = removed.iter().map(|record| record.size).sum();
                    tracing::info!(
                        records = removed.len(),
                        bytes,
                        "removed unused build state to stay within limits"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "cannot keep the store within its limits"),
        }
    }

    fn marker(&self) -> PathBuf {
        self.collector.store.root().join(MARKER)
    }

    fn is_busy(&self) -> bool {
        lock(&self.state).builds > 0
    }
}

/// Keeps the store within its limits while builds run. Holds nothing that would
/// keep an engine open.
async fn watch(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once; most builds are shorter than the second.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let look = tokio::task::spawn_blocking(move || shared.look());
        let _ = look.await;
    }
}

/// Does upkeep soon after start, after builds, and now and then.
async fn look_after(shared: Arc<Shared>) {
    let mut last: Option<Instant> = None;
    loop {
        tokio::time::sleep(QUIET).await;
        // While builds run, writing everything out would slow them down.
        let interval = match shared.is_busy() {
            true => PERIOD,
            false => INTERVAL,
        };
        if last.is_none_or(|last| last.elapsed() >= interval) {
            last = Some(Instant::now());
            let shared = shared.clone();
            let upkeep = tokio::task::spawn_blocking(move || {
                mark(&shared.marker());
                shared.collector.upkeep();
            });
            let _ = upkeep.await;
        }
        let _ = tokio::time::timeout(PERIOD, shared.build_ended.notified()).await;
        let age = last.map_or(INTERVAL, |last| last.elapsed());
        tokio::time::sleep(INTERVAL.saturating_sub(age)).await;
    }
}

/// Whether no upkeep has begun for a while; then one has now.
fn is_due(marker: &Path) -> bool {
    let modified = marker.metadata().and_then(|metadata| metadata.modified());
    let age = modified
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age < PERIOD) {
        return false;
    }
    // Of several processes, each that sees the old time collects: needless
    // but harmless.
    mark(marker)
}

fn mark(marker: &Path) -> bool {
    File::create(marker)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
