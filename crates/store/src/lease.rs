//! Leases and locks: what a process uses stays on disk until that process lets go of it or dies. All of them are
//! kernel locks on open files, so `kill -9` leaves nothing to be cleaned up by hand.

pub(crate) mod locks;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::disk::{AtPath, DiskError};
use crate::refs::new_id;

/// Lease files under construction are named so; they are not locked yet.
const NEW_PREFIX: &str = ".new-";

/// While a lease lives, blobs written or looked up after it began are not reclaimed, whether or not anything
/// refers to them yet. Take one for each piece of work (a build, an export) that makes blobs before it records
/// who needs them. Refs hold themselves and need no lease. Dropping it, or the death of the process, ends it.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _locked: File,
}

impl Lease {
    /// Begins a lease in the directory of leases.
    pub(crate) fn begin(dir: &Path) -> Result<Lease, DiskError> {
        let id = new_id();
        let unlocked = dir.join(format!("{NEW_PREFIX}{id}"));
        let path = dir.join(id);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&unlocked)
            .at("create lease", &unlocked)?;
        // Locked before it gets its name: whoever finds the name unlocked may take its owner for dead.
        flock(&file, FlockOperation::NonBlockingLockExclusive).at("lock lease", &unlocked)?;
        fs::rename(&unlocked, &path).at("create lease", &path)?;
        Ok(Lease {
            path,
            _locked: file,
        })
    }

    /// The name under which `Lease::lives` finds it.
    pub fn id(&self) -> &str {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    /// Whether the lease of this name lives, in whatever process.
    pub(crate) fn lives(dir: &Path, id: &str) -> Result<bool, DiskError> {
        // Names come out of databases: none may lead elsewhere.
        if id.is_empty() || id.contains(['/', '.']) {
            return Ok(false);
        }
        let path = dir.join(id);
        match File::open(&path) {
            Ok(file) => Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("open lease", &path),
        }
    }

    /// When the oldest lease that lives began, or `None` if there is none. Removes the files of dead ones.
    pub(crate) fn oldest(dir: &Path) -> Result<Option<SystemTime>, DiskError> {
        let mut oldest = None;
        for entry in fs::read_dir(dir).at("list leases", dir)? {
            let path = entry.at("list leases", dir)?.path();
            // Another process may end its lease at any moment: a missing file is no error.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let Ok(began) = file.metadata().and_then(|metadata| metadata.modified()) else {
                continue;
            };
            let is_new = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(NEW_PREFIX));
            let is_dead = !is_new && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if is_dead || (is_new && is_older_than_a_day(began)) {
                let _ = fs::remove_file(&path);
            } else if oldest.is_none_or(|oldest| began < oldest) {
                oldest = Some(began);
            }
        }
        Ok(oldest)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_older_than_a_day(time: SystemTime) -> bool {
    time.elapsed().is_ok_and(|age| age.as_secs() > 24 * 60 * 60)
}
