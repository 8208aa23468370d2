//! The snapshot being made.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_session::transfer::TreeEntry;
use kiln_store::owner;
use kiln_store::walk::{WalkRoot, xattr};
use kiln_store::{MutableOptions, MutableRef, RecordType, Store};
use rustix::fs::{AtFlags, Mode, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::SourceError;
use crate::local::source::{LocalProgress, TransferProgress};
use crate::local::write::path_of_bytes;

/// What all who write to it share.
pub(super) struct Shared {
    pub(super) root: WalkRoot,
    pub(super) name: String,
    pub(super) progress: LocalProgress,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Shared {
    /// Starts a tree.
    pub(super) fn start(
        store: &Store,
        name: &str,
        progress: &LocalProgress,
    ) -> Result<(MutableRef, Arc<Self>), SourceError> {
        let options = MutableOptions {
            description: format!("local source for {name}"),
            record_type: RecordType::SourceLocal,
            created: None,
        };
        let tree = store.mutable(None, options)?;
        let root = WalkRoot::open(tree.upper_dir()).map_err(|error| SourceError::Write {
            name: name.to_owned(),
            action: "open",
            path: tree.upper_dir().to_owned(),
            source: error.into(),
        })?;
        let shared = Self {
            root,
            name: name.to_owned(),
            progress: Arc::clone(progress),
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
        };
        Ok((tree, Arc::new(shared)))
    }

    pub(super) fn make_directory(&self, entry: &TreeEntry) -> Result<(), SourceError> {
        let (parent, name) = entry.split();
        let made = self
            .root
            .directory(parent)
            .and_then(|parent| rustix::fs::mkdirat(parent, name, Mode::RWXU));
        made.map_err(|error| self.failed("create directory", entry, error))
    }

    pub(super) fn failed(
        &self,
        action: &'static str,
        entry: &TreeEntry,
        error: impl Into<std::io::Error>,
    ) -> SourceError {
        SourceError::Write {
            name: self.name.clone(),
            action,
            path: path_of_bytes(&entry.path),
            source: error.into(),
        }
    }

    pub(super) fn wrote(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Large files are told about on the way.
        if before >> 20 != (before + bytes) >> 20 {
            self.report();
        }
    }

    pub(super) fn completed(&self, files: u64) {
        let before = self.files.fetch_add(files, Ordering::Relaxed);
        if before >> 7 != (before + files) >> 7 {
            self.report();
        }
    }

    pub(super) fn report(&self) {
        (self.progress)(TransferProgress {
            bytes: self.bytes.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
        });
    }
}

/// The directory that was opened last: neighbours in a list are mostly in one.
#[derive(Default)]
pub(super) struct LastDirectory(Option<(Vec<u8>, OwnedFd)>);

impl LastDirectory {
    pub(super) fn open(&mut self, root: &WalkRoot, path: &[u8]) -> Result<&OwnedFd, Errno> {
        if self.0.as_ref().is_none_or(|(last, _)| last != path) {
            self.0 = Some((path.to_vec(), root.directory(path)?));
        }
        self.0
            .as_ref()
            .map(|(_, opened)| opened)
            .ok_or(Errno::NOENT)
    }
}

/// Extended attributes as the kernel wants them.
pub(super) fn attributes_of(entry: &TreeEntry) -> xattr::Attributes {
    let attributes = entry.xattrs.iter();
    attributes
        .filter_map(|(name, value)| Some((CString::new(name.as_str()).ok()?, value.clone())))
        .collect()
}

pub(super) fn times_of(entry: &TreeEntry) -> Timestamps {
    let (seconds, nanos) = entry.mtime_parts();
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Owner, mode and time of an open file or directory. Without privilege, everything stays ours.
pub(super) fn finish_open(file: impl AsFd, entry: &TreeEntry) -> Result<(), Errno> {
    let (uid, gid) = (owner::uid(entry.uid), owner::gid(entry.gid));
    let ours = (rustix::process::geteuid(), rustix::process::getegid());
    if (uid, gid) != (Some(ours.0), Some(ours.1)) {
        let _ = rustix::fs::fchown(&file, uid, gid);
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
    rustix::fs::futimens(file, &times_of(entry))
}

/// The same of something that cannot be opened.
pub(super) fn finish_unopened(
    directory: &OwnedFd,
    name: &[u8],
    entry: &TreeEntry,
    has_mode: bool,
) -> Result<(), Errno> {
    let (uid, gid) = (owner::uid(entry.uid), owner::gid(entry.gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let _ = rustix::fs::chownat(directory, name, uid, gid, flags);
    if has_mode {
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?;
    }
    rustix::fs::utimensat(directory, name, &times_of(entry), flags)
}
