//! Which blobs nothing needs, and their removal.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci_spec::image::Digest;
use rustix::fs::{FlockOperation, flock};

use super::{ContentError, ContentStore};
use crate::disk::AtPath;

/// Blobs touched this recently are never removed. Wide enough for the coarse clock of file systems, and for
/// spending no write on every look-up.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// Half of the grace: whoever relies on it has the other half to hold a lease.
pub(super) fn is_fresh(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age < GRACE / 2)
}

impl ContentStore {
    /// All blobs, and where they lie.
    pub fn list(&self) -> Result<Vec<(Digest, PathBuf)>, ContentError> {
        let mut found = Vec::new();
        let blobs = self.root.join("blobs");
        for algorithm in fs::read_dir(&blobs).at("list", &blobs)? {
            let directory = algorithm.at("list", &blobs)?.path();
            let Some(algorithm) = directory.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            for blob in fs::read_dir(&directory).at("list", &directory)? {
                let path = blob.at("list", &directory)?.path();
                let Some(hex) = path.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                if let Ok(digest) = Digest::try_from(format!("{algorithm}:{hex}")) {
                    found.push((digest, path));
                }
            }
        }
        Ok(found)
    }

    /// The bytes a blob takes; 0 if it is absent.
    pub(crate) fn size_on_disk(&self, digest: &str) -> u64 {
        let Ok(digest) = Digest::try_from(digest) else {
            return 0;
        };
        fs::metadata(self.path(&digest)).map_or(0, |found| found.blocks() * 512)
    }

    /// Removes every blob that is not in `needed` and was last touched before `oldest_lease` began, and what dead
    /// writers left. Returns the bytes freed.
    pub(crate) fn sweep(
        &self,
        needed: &HashSet<String>,
        oldest_lease: Option<SystemTime>,
    ) -> Result<u64, ContentError> {
        let mut freed = 0;
        for (digest, path) in self.list()? {
            if !needed.contains(digest.as_ref()) {
                freed += self.remove_untouched(&path, oldest_lease)?;
            }
        }
        self.sweep_ingest()?;
        Ok(freed)
    }

    fn remove_untouched(
        &self,
        path: &Path,
        oldest_lease: Option<SystemTime>,
    ) -> Result<u64, ContentError> {
        let _no_use = self.removal_lock(FlockOperation::LockExclusive)?;
        let (size, modified) =
            match fs::metadata(path).and_then(|found| Ok((found.len(), found.modified()?))) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error).at("look up", path)?,
            };
        let limit = oldest_lease.map(|began| began - GRACE);
        if limit.is_some_and(|limit| modified >= limit) {
            return Ok(0);
        }
        fs::remove_file(path).at("remove", path)?;
        Ok(size)
    }

    fn sweep_ingest(&self) -> Result<(), ContentError> {
        let directory = self.ingest_dir();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let path = entry.at("list", &directory)?.path();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let is_old = file
                .metadata()
                .and_then(|found| found.modified())
                .is_ok_and(|time| !is_fresh(time));
            if is_old && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }
}
