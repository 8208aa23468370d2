//! A result that a daemon sends, put into a directory of the client.
//!
//! Files that are there already are neither asked for nor touched. Others are written under
//! another name and moved to their place once they are whole.

mod directories;
mod entry;
mod file;
mod finish;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_store::place::Attributes;
use rustix::fs::{CWD, Mode, OFlags, Timespec};

use super::entry::{EntryKind, TreeEntry};
use super::error::TransferError;
use super::link::Link;
use super::receive::{Sink, receive};
use super::remote::Others;
use directories::OpenDirectories;
use file::DeliveredFile;

/// Receives a tree into the directory `path`, which is created if it is missing. Everything
/// will belong to the caller.
///
/// # Errors
/// The other side fails, or something cannot be written.
pub async fn deliver(link: Link, path: PathBuf, others: Others) -> Result<(), TransferError> {
    let opened = tokio::task::spawn_blocking(move || Destination::open(&path)).await;
    let opened = opened.unwrap_or_else(|error| Err(TransferError::Internal(error.to_string())));
    let destination = match opened {
        Ok(destination) => destination,
        Err(error) => {
            link.refuse(&error).await;
            return Err(error);
        }
    };
    let directories = OpenDirectories::new(Arc::clone(&destination));
    let delivery = Delivery {
        destination,
        directories,
        others,
    };
    receive(link, delivery).await
}

/// The directory that takes the files.
struct Destination {
    root: OwnedFd,
    /// For people.
    path: PathBuf,
    owner: (u32, u32),
}

struct Delivery {
    destination: Arc<Destination>,
    directories: OpenDirectories,
    others: Others,
}

impl Destination {
    fn open(path: &Path) -> Result<Arc<Self>, TransferError> {
        let failed = |source| TransferError::File {
            action: "open",
            path: path.to_owned(),
            source,
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(failed)?;
        // The destination itself may be a symbolic link: the user named it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty());
        Ok(Arc::new(Self {
            root: root.map_err(|error| failed(error.into()))?,
            path: path.to_owned(),
            owner: (
                rustix::process::getuid().as_raw(),
                rustix::process::getgid().as_raw(),
            ),
        }))
    }

    /// The attributes that an entry gets.
    fn attributes(&self, entry: &TreeEntry) -> Attributes {
        let (seconds, nanos) = entry.mtime_parts();
        let xattrs = entry.xattrs.iter();
        Attributes {
            owner: self.owner,
            mode: entry.mode,
            time: Timespec {
                tv_sec: seconds,
                tv_nsec: nanos.into(),
            },
            xattrs: xattrs
                .filter_map(|(name, value)| {
                    Some((CString::new(name.as_str()).ok()?, value.clone()))
                })
                .collect(),
        }
    }

    fn failed(
        &self,
        action: &'static str,
        path: &[u8],
        error: impl Into<std::io::Error>,
    ) -> TransferError {
        TransferError::File {
            action,
            path: self.path.join(super::error::path_of(path)),
            source: error.into(),
        }
    }
}

impl Sink for Delivery {
    type Error = TransferError;
    type File = DeliveredFile;
    type Output = ();

    fn entry(&mut self, entry: &Arc<TreeEntry>) -> Result<Option<DeliveredFile>, TransferError> {
        let parent = self.directories.parent_of(entry)?;
        match &entry.kind {
            EntryKind::Directory => self.directories.enter(&parent, entry).map(|()| None),
            // Made once the files are there.
            EntryKind::Link(_) => Ok(None),
            EntryKind::File if self.is_there(&parent, entry)? => Ok(None),
            EntryKind::File => Ok(Some(DeliveredFile::new(
                Arc::clone(&self.destination),
                Arc::clone(entry),
            ))),
            _ => self.make_special(&parent, entry).map(|()| None),
        }
    }

    fn finish(
        self,
        entries: Vec<Arc<TreeEntry>>,
        _hands: Vec<file::LastParent>,
    ) -> Result<(), TransferError> {
        self.make_links(&entries)?;
        if self.others == Others::Remove {
            self.remove_others(&entries)?;
        }
        self.finish_directories(&entries)
    }
}
