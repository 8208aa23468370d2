//! A file that is a tree of its own.

use std::fs::File;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_store::{MutableRef, owner};
use rustix::fs::{Mode, OFlags};

/// A file's mode unless the build says otherwise.
const MODE: u32 = 0o600;

/// What a file looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SingleFile {
    /// One part of a path.
    pub(crate) name: String,
    /// Zero for the usual one.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The epoch, if absent.
    pub(crate) modified: Option<SystemTime>,
}

impl SingleFile {
    /// The file, to be written. As its name is one part of a path and the tree is empty, nothing
    /// leads out of it.
    pub(crate) fn create(&self, tree: &MutableRef) -> io::Result<File> {
        let directory = tree.local_dir().unwrap_or(tree.upper_dir());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = directory.join(&self.name);
        Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Gives it its attributes, once it is written.
    pub(crate) fn finish(&self, file: &File) -> io::Result<()> {
        if (self.uid, self.gid) != (0, 0) {
            rustix::fs::fchown(file, owner::uid(self.uid), owner::gid(self.gid))?;
        }
        let mode = if self.mode == 0 { MODE } else { self.mode };
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?;
        let time = self.modified.unwrap_or(UNIX_EPOCH);
        let times = std::fs::FileTimes::new();
        file.set_times(times.set_accessed(time).set_modified(time))
    }
}
