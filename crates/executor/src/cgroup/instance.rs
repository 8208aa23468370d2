//! The directory of one engine process in a hierarchy, and what dead ones left behind.
//!
//! An instance holds a lock on its directory. The kernel drops it when the process dies, however it dies, so
//! a directory whose lock can be had belongs to nobody: its processes are killed and it is removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Name of the directory that holds all instances.
pub(crate) const PARENT: &str = "kiln";

/// How long processes that were killed may take to leave their cgroup before it is left to the next start.
const PATIENCE: u32 = 50;

/// A locked directory of this process.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) dir: PathBuf,
    _lock: File,
}

impl Instance {
    /// Makes and locks `base/kiln/name`.
    pub(crate) fn create(base: &Path, name: &str) -> io::Result<Instance> {
        let dir = base.join(PARENT).join(name);
        loop {
            // Another engine's end or sweep may remove what we make as long as it is not locked.
            let lock = match fs::create_dir_all(&dir).and_then(|()| File::open(&dir)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
            match fs::metadata(&dir) {
                Ok(now) if now.ino() == lock.metadata()?.ino() => {
                    return Ok(Instance { dir, _lock: lock });
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        remove_tree(&self.dir);
        // Fails while there are others.
        let _ = self.dir.parent().map(fs::remove_dir);
    }
}

/// Removes the directories of dead instances below `base`, with all processes in them.
pub(crate) fn sweep(base: &Path) {
    for entry in fs::read_dir(base.join(PARENT))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(dir) = File::open(entry.path()) else {
            continue;
        };
        if dir.metadata().is_ok_and(|metadata| metadata.is_dir())
            && rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            kill_all(&entry.path());
            remove_tree(&entry.path());
        }
    }
}

/// Kills every process in the tree below `dir`.
pub(crate) fn kill_all(dir: &Path) {
    for child in directories(dir) {
        kill_all(&child);
    }
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in processes
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
    {
        // The descriptor cannot come to mean another process, the number can: looked for again with it open.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        if processes
            .lines()
            .any(|line| line.parse() == Ok(pid.as_raw_nonzero().get()))
        {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// Removes an empty tree of cgroups, waiting a little for processes that are about to be gone.
pub(crate) fn remove_tree(dir: &Path) {
    for child in directories(dir) {
        remove_tree(&child);
    }
    for _ in 0..PATIENCE {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(2))
            }
            _ => return,
        }
    }
    tracing::warn!(cgroup = %dir.display(), "still in use; left to the next start");
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
