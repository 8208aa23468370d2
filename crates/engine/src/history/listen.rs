//! Following the history: what is in it, and what changes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_protocol::control::{BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord};
use tokio::sync::watch;

use super::filter::RecordFilter;
use super::table::{Row, Version};
use super::{History, HistoryError, Shared, blocking};

/// How often a listener looks for what other processes did.
const POLL: Duration = Duration::from_secs(1);

/// What to listen for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenOptions {
    /// Which builds to tell of at first.
    pub scope: Scope,
    /// When to end.
    pub until: Until,
    /// Only the build of this name.
    pub build: Option<String>,
    /// Filters on the finished builds told of at first, of which one must
    /// match, as BuildKit's clients write them: `status==error,startedAt>48h`.
    pub filters: Vec<String>,
    /// Only so many of the finished builds told of at first: the newest ones.
    pub limit: Option<usize>,
}

/// Which builds to tell of at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Running and finished ones.
    #[default]
    All,
    /// Running ones.
    Running,
}

/// When a listener ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// When the history is closed; until then it tells of every change.
    #[default]
    Closed,
    /// When it has told of what there is.
    Listed,
}

/// A stream of events.
pub struct Listener {
    history: History,
    options: Arc<ListenOptions>,
    changes: watch::Receiver<()>,
    known: Known,
    pending: VecDeque<BuildHistoryEvent>,
    stage: Stage,
}

/// What the client has been told.
type Known = HashMap<String, Version>;

enum Stage {
    Listing(RecordFilter),
    Following,
    Ended,
}

impl History {
    /// Tells of the builds there are, then of every change.
    pub fn listen(&self, options: ListenOptions) -> Result<Listener, HistoryError> {
        let filter = RecordFilter::parse(&options.filters, SystemTime::now())?;
        Ok(Listener {
            history: self.clone(),
            options: Arc::new(options),
            changes: self.shared.changes.subscribe(),
            known: Known::new(),
            pending: VecDeque::new(),
            stage: Stage::Listing(filter),
        })
    }
}

impl Listener {
    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<BuildHistoryEvent, HistoryError>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(Ok(event));
            }
            let result = match self.stage {
                Stage::Listing(_) => self.list().await,
                Stage::Following => self.follow().await,
                Stage::Ended => return None,
            };
            if let Err(error) = result {
                self.stage = Stage::Ended;
                return Some(Err(error));
            }
        }
    }

    async fn list(&mut self) -> Result<(), HistoryError> {
        self.changes.mark_unchanged();
        let found = self.look(Known::new()).await?;
        let Stage::Listing(filter) = std::mem::replace(&mut self.stage, Stage::Following) else {
            return Ok(());
        };
        if self.options.until == Until::Listed {
            self.stage = Stage::Ended;
        }
        self.known = found.known;
        let (finished, running): (Vec<_>, Vec<_>) = found
            .changed
            .into_iter()
            .partition(|change| !change.row.version.is_active);
        let mut finished: Vec<_> = finished
            .into_iter()
            .map(|change| change.row.record)
            .filter(|record| filter.matches(record))
            .collect();
        if let Some(limit) = self.options.limit {
            let created = |record: &BuildHistoryRecord| {
                let time = record.created_at.unwrap_or_default();
                std::cmp::Reverse((time.seconds, time.nanos))
            };
            finished.sort_by_key(created);
            finished.truncate(limit);
        }
        let running = running.into_iter().map(|change| started(change.row.record));
        self.pending.extend(running);
        if self.options.scope == Scope::All {
            self.pending.extend(finished.into_iter().map(completed));
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), HistoryError> {
        // Whatever happened before this is found by looking below.
        let is_over = self.history.shared.live.is_over();
        if !is_over {
            tokio::select! {
                _ = self.changes.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        let found = self.look(self.known.clone()).await?;
        for build in found.gone {
            self.pending.push_back(deleted(build));
        }
        for Change { row, is_new } in found.changed {
            match (row.version.is_active, is_new) {
                (true, _) => self.pending.push_back(started(row.record)),
                (false, true) => {
                    self.pending.push_back(started(beginning(&row.record)));
                    self.pending.push_back(completed(row.record));
                }
                (false, false) => self.pending.push_back(completed(row.record)),
            }
        }
        self.known = found.known;
        if is_over {
            self.stage = Stage::Ended;
        }
        Ok(())
    }

    async fn look(&self, known: Known) -> Result<Found, HistoryError> {
        let (shared, options) = (self.history.shared.clone(), self.options.clone());
        blocking(move || {
            shared.close_orphans()?;
            look(&shared, options.build.as_deref(), &known)
        })
        .await
    }
}

/// What is not as the client knows it.
struct Found {
    known: Known,
    /// Names of records that are gone.
    gone: Vec<String>,
    /// Records that are new or changed, oldest first.
    changed: Vec<Change>,
}

struct Change {
    row: Row,
    /// Whether the client does not know the build at all.
    is_new: bool,
}

fn look(shared: &Shared, only: Option<&str>, known: &Known) -> Result<Found, HistoryError> {
    let mut found = Found {
        known: Known::new(),
        gone: Vec::new(),
        changed: Vec::new(),
    };
    let mut present = HashSet::new();
    for (build, version) in shared.table.versions()? {
        if only.is_some_and(|only| only != build) {
            continue;
        }
        let before = known.get(&build).copied();
        let is_same_row = before.is_some_and(|before| before.row == version.row);
        if before != Some(version) {
            // It may have been deleted since.
            let Some(row) = shared.table.get(&build)? else {
                continue;
            };
            if is_same_row {
                present.insert(build.clone());
            }
            found.known.insert(build, row.version);
            let is_new = !is_same_row;
            found.changed.push(Change { row, is_new });
        } else {
            present.insert(build.clone());
            found.known.insert(build, version);
        }
    }
    let gone = known.keys().filter(|build| !present.contains(*build));
    found.gone = gone.cloned().collect();
    Ok(found)
}

/// The record as it was when the build began.
fn beginning(record: &BuildHistoryRecord) -> BuildHistoryRecord {
    BuildHistoryRecord {
        r#ref: record.r#ref.clone(),
        frontend: record.frontend.clone(),
        frontend_attrs: record.frontend_attrs.clone(),
        exporters: record.exporters.clone(),
        created_at: record.created_at,
        ..BuildHistoryRecord::default()
    }
}

fn started(record: BuildHistoryRecord) -> BuildHistoryEvent {
    event(BuildHistoryEventType::Started, record)
}

fn completed(record: BuildHistoryRecord) -> BuildHistoryEvent {
    event(BuildHistoryEventType::Complete, record)
}

fn deleted(build: String) -> BuildHistoryEvent {
    let record = BuildHistoryRecord {
        r#ref: build,
        ..BuildHistoryRecord::default()
    };
    event(BuildHistoryEventType::Deleted, record)
}

fn event(kind: BuildHistoryEventType, record: BuildHistoryRecord) -> BuildHistoryEvent {
    BuildHistoryEvent {
        r#type: kind as i32,
        record: Some(record),
    }
}
