//! Cache directories as they are kept, for whoever wants to copy them.

use std::path::{Path, PathBuf};

use super::{Found, Key};
use crate::lease::locks::{LockFile, Mode, Purpose};
use crate::refs::hold::Hold;
use crate::refs::{RecordType, Ref};
use crate::store::{Store, StoreError};

/// A cache directory that is there. While this lives it is not removed, and no step has it to itself that did not have
/// it before.
#[derive(Debug)]
pub struct KeptMount {
    /// The tree it started with.
    pub seed: Option<Ref>,
    dir: PathBuf,
    _hold: Hold,
    /// `None` if a step has the directory to itself at this moment.
    _lock: Option<LockFile>,
}

impl KeptMount {
    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Store {
    /// The directories of an id, one for each seed that still is there; the one without a seed first. Blocks.
    pub fn kept_mounts(&self, id: &str) -> Result<Vec<KeptMount>, StoreError> {
        let prefix = format!("{id}:");
        let keys: Vec<String> = self.database().query(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT DISTINCT key FROM cache_dirs WHERE ready = 1 AND (key = ?1 OR substr(key, 1, length(?2)) = ?2)
                 ORDER BY length(key), key",
            )?;
            query.query_map([id, &prefix], |row| row.get(0))?.collect()
        })?;
        let mut kept = Vec::new();
        for key in keys {
            let seed = match key.strip_prefix(&prefix) {
                None => None,
                Some(seed) => match self.get(seed)? {
                    Some(seed) => Some(seed),
                    // Of another id, or of a tree that is gone: no step will ask for it again.
                    None => continue,
                },
            };
            kept.extend(self.kept_mount(&key, seed)?);
        }
        Ok(kept)
    }

    fn kept_mount(&self, key: &str, seed: Option<Ref>) -> Result<Option<KeptMount>, StoreError> {
        let key = Key {
            record_type: RecordType::ExecCacheMount,
            text: key,
        };
        let found = self
            .database()
            .query(|connection| Found::of_key(connection, &key))?;
        let Some(found) = found.into_iter().find(|found| found.ready) else {
            return Ok(None);
        };
        let Some(hold) = self.holds().hold_now(found.row)? else {
            return Ok(None);
        };
        let dir = self.snapshots().tree(found.row);
        if !dir.is_dir() {
            return Ok(None);
        }
        let lock = self.new_lock_owner()?;
        let is_free = lock.try_lock(Purpose::Work, found.row, Mode::Shared)?;
        Ok(Some(KeptMount {
            seed,
            dir,
            _hold: hold,
            _lock: is_free.then_some(lock),
        }))
    }
}
