//! Named directories that outlive builds: `RUN --mount=type=cache`, and the repositories of git sources.

mod kept;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use crate::lease::locks::{LockFile, Mode, Purpose, Row};
use crate::mount::{Access, Mount};
use crate::refs::hold::Hold;
use crate::refs::record::{Files, Kind, NewRecord, Record, State};
use crate::refs::{MutableOptions, RecordType, Ref, copy_tree};
use crate::store::{Store, StoreError};

pub use kept::KeptMount;

/// How often to look whether another process is done with a directory. It cannot tell us.
const POLL: Duration = Duration::from_millis(20);

/// Who may use a cache directory at the same time, in this and other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Any number of users at once.
    #[default]
    Shared,
    /// One user; another one at the same time gets a directory of its own.
    Private,
    /// One user; others wait.
    Locked,
}

/// Which cache directory is wanted.
#[derive(Debug, Clone)]
pub struct CacheMountRequest<'a> {
    /// The name given with `id=`, with any namespace already put in front.
    pub id: &'a str,
    /// Who may use it at the same time.
    pub sharing: Sharing,
    /// The tree a new directory starts with. Directories of different seeds are different caches.
    pub seed: Option<&'a Ref>,
    /// What a new directory starts with instead, if it can.
    pub fill: Option<Arc<dyn Fill>>,
    /// Told by `du --verbose`, such as `cached mount /root/.cache from exec /bin/sh -c make`.
    pub description: String,
}

/// Where the files of a new cache directory can come from.
#[async_trait]
pub trait Fill: std::fmt::Debug + Send + Sync {
    /// Brings the files near; `None` if there are none.
    async fn fetch(&self) -> Option<Filling>;
}

/// Puts files into an empty directory. Whether all are there; if not, whatever was put there is removed again. Blocks.
pub type Filling = Box<dyn FnOnce(&Path) -> bool + Send>;

/// A cache directory in use. Dropping it lets others have it.
#[derive(Debug)]
pub struct CacheMount {
    store: Store,
    id: String,
    dir: PathBuf,
    hold: Hold,
    _use: LockFile,
}

impl CacheMount {
    /// The id of its record in `du`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A writable bind mount of the directory.
    pub fn mounts(&self) -> Vec<Mount> {
        vec![Mount::bind(self.dir.clone(), Access::Write)]
    }
}

impl Drop for CacheMount {
    fn drop(&mut self) {
        self.store.touch(self.hold.row());
    }
}

/// What directories are found by.
struct Key<'a> {
    record_type: RecordType,
    text: &'a str,
}

/// A directory of the wanted name.
struct Found {
    row: Row,
    id: String,
    /// Whether it has its seed.
    ready: bool,
}

/// What one look at the directories came to.
enum Attempt {
    /// This one, locked. It may be without its seed, then only we have it.
    Taken(Found, Hold, LockFile),
    /// All that would do are in use.
    Busy,
}

impl Store {
    /// A cache directory, waiting for other users if it must. Dropping the future stops waiting.
    pub async fn cache_mount(
        &self,
        request: CacheMountRequest<'_>,
    ) -> Result<CacheMount, StoreError> {
        self.named_dir(RecordType::ExecCacheMount, &request).await
    }

    /// A directory that a source keeps for itself; others wait while it is in use. Steps cannot mount it, whatever
    /// ids they ask for.
    pub async fn source_dir(
        &self,
        name: &str,
        description: String,
    ) -> Result<CacheMount, StoreError> {
        let request = CacheMountRequest {
            id: name,
            sharing: Sharing::Locked,
            seed: None,
            fill: None,
            description,
        };
        self.named_dir(RecordType::Regular, &request).await
    }

    async fn named_dir(
        &self,
        record_type: RecordType,
        request: &CacheMountRequest<'_>,
    ) -> Result<CacheMount, StoreError> {
        let key = match request.seed {
            Some(seed) => format!("{}:{}", request.id, seed.id()),
            None => request.id.to_owned(),
        };
        let key = Key {
            record_type,
            text: &key,
        };
        let (found, hold, lock) = loop {
            match self.try_cache_dir(&key, request)? {
                Attempt::Taken(found, hold, lock) => break (found, hold, lock),
                Attempt::Busy => tokio::time::sleep(POLL).await,
            }
        };
        let lock = match found.ready {
            true => lock,
            false => self.make_ready(&found, lock, request).await?,
        };
        let dir = self.snapshots().tree(found.row);
        Ok(CacheMount {
            store: self.clone(),
            id: found.id,
            dir,
            hold,
            _use: lock,
        })
    }

    /// Takes a directory that is free for this use, or makes one. In one transaction, so that two processes do not
    /// make two directories where one was wanted.
    fn try_cache_dir(
        &self,
        key: &Key<'_>,
        request: &CacheMountRequest<'_>,
    ) -> Result<Attempt, StoreError> {
        let owner = self.new_lock_owner()?;
        let mode = match request.sharing {
            Sharing::Shared => Mode::Shared,
            Sharing::Private | Sharing::Locked => Mode::Exclusive,
        };
        let outcome = self.database().transact(|transaction| {
            let known = Found::of_key(transaction, key)?;
            let mut must_wait = false;
            for found in known {
                // One without its seed is ours to complete, if whoever made it died, or else worth waiting for.
                let mode = if found.ready { mode } else { Mode::Exclusive };
                match owner.try_lock(Purpose::Work, found.row, mode) {
                    Ok(true) => {
                        return Ok(self
                            .holds()
                            .hold_now(found.row)
                            .map(|hold| Some((found, hold))));
                    }
                    Ok(false) => {
                        let is_coming = !found.ready && request.sharing == Sharing::Shared;
                        must_wait |= is_coming || request.sharing == Sharing::Locked;
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            if must_wait {
                return Ok(Ok(None));
            }
            let found = self.insert_cache_dir(transaction, key, request)?;
            let locked = owner.try_lock(Purpose::Work, found.row, Mode::Exclusive);
            Ok(locked
                .and_then(|_| self.holds().hold_now(found.row))
                .map(|hold| Some((found, hold))))
        })?;
        match outcome? {
            Some((found, Some(hold))) => Ok(Attempt::Taken(found, hold, owner)),
            // Somebody is removing it at this moment.
            Some((_, None)) | None => Ok(Attempt::Busy),
        }
    }

    fn insert_cache_dir(
        &self,
        connection: &Connection,
        key: &Key<'_>,
        request: &CacheMountRequest<'_>,
    ) -> rusqlite::Result<Found> {
        let options = MutableOptions {
            description: request.description.clone(),
            record_type: key.record_type,
            created: None,
        };
        let new = NewRecord::new(
            Kind::Layer,
            State::Cache,
            Files::Written,
            Vec::new(),
            options,
        );
        let Record { row, id, .. } = new.insert(connection, self.boot())?;
        connection
            .prepare_cached("INSERT INTO cache_dirs (owner, key, ready) VALUES (?1, ?2, 0)")?
            .execute((row, key.text))?;
        Ok(Found {
            row,
            id,
            ready: false,
        })
    }

    /// Gives a new directory its seed, then shares it as asked for.
    async fn make_ready(
        &self,
        found: &Found,
        lock: LockFile,
        request: &CacheMountRequest<'_>,
    ) -> Result<LockFile, StoreError> {
        if let Some(seed) = request.seed {
            seed.materialize().await?;
        }
        let filling = match &request.fill {
            Some(fill) => fill.fetch().await,
            None => None,
        };
        let (store, row, seed) = (self.clone(), found.row, request.seed.cloned());
        let sharing = request.sharing;
        // The lock goes along: whoever waits for the directory waits for this, even if nobody waits for us any more.
        let work = move || {
            let empty = || {
                store.snapshots().clear(row)?;
                store.snapshots().create(row)
            };
            let mut dir = empty()?;
            let is_filled = match filling {
                Some(fill) => {
                    let is_filled = fill(&dir);
                    if !is_filled {
                        dir = empty()?;
                    }
                    is_filled
                }
                None => false,
            };
            if let Some(seed) = seed.filter(|_| !is_filled) {
                let tree = store.mount(&seed.mounts()?)?;
                copy_tree(tree.path(), &dir)?;
            }
            // Shared before it is called ready: whoever finds a ready directory locked takes it for one in use.
            if sharing == Sharing::Shared {
                lock.lock(Purpose::Work, row, Mode::Shared)?;
            }
            store.database().transact(|transaction| {
                transaction
                    .prepare_cached("UPDATE cache_dirs SET ready = 1 WHERE owner = ?1")?
                    .execute([row])
            })?;
            Ok(lock)
        };
        match spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Interrupted {
                reason: error.to_string(),
            }),
        }
    }
}

impl Found {
    /// The directories of a key, the most used first.
    fn of_key(connection: &Connection, key: &Key<'_>) -> rusqlite::Result<Vec<Found>> {
        let mut query = connection.prepare_cached(
            "SELECT row, id, ready FROM cache_dirs JOIN refs ON row = owner
                WHERE key = ?1 AND record_type = ?2 ORDER BY row",
        )?;
        let rows = query.query_map((key.text, key.record_type), |row| {
            Ok(Found {
                row: row.get(0)?,
                id: row.get(1)?,
                ready: row.get(2)?,
            })
        })?;
        rows.collect()
    }
}
