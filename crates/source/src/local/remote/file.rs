//! One file on its way into a snapshot.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use kiln_session::transfer::{IncomingFile, TreeEntry};
use kiln_store::checksum::{FileHash, RootHeader};
use kiln_store::tar::Timestamp;
use kiln_store::tree::{FileKind, Metadata, Owner};
use kiln_store::walk::xattr;
use rustix::fs::{Mode, OFlags};

use super::target::{LastDirectory, Shared, attributes_of, finish_open};
use crate::error::SourceError;
use crate::local::index::Trust;

/// A file that was asked for.
pub(super) struct SnapshotFile {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<TreeEntry>,
    /// Its place in the list.
    pub(super) at: usize,
    pub(super) begun: Option<Begun>,
}

/// A file that exists.
pub(super) struct Begun {
    file: File,
    /// `None` if the file will not have all that is hashed.
    hash: Option<FileHash>,
    written: u64,
}

/// What one thread works with and brings back.
#[derive(Default)]
pub(super) struct Hand {
    last: LastDirectory,
    pub(super) made: Vec<Made>,
}

/// A file that is complete.
pub(super) struct Made {
    pub(super) at: usize,
    pub(super) trust: Trust,
    pub(super) hash: Option<FileHash>,
}

impl SnapshotFile {
    fn begun(&mut self, hand: &mut Hand) -> Result<&mut Begun, SourceError> {
        if self.begun.is_none() {
            self.begun = Some(self.begin(hand)?);
        }
        self.begun
            .as_mut()
            .ok_or_else(|| SourceError::Internal("a file was not begun".to_owned()))
    }

    fn begin(&self, hand: &mut Hand) -> Result<Begun, SourceError> {
        let (directory, name) = self.entry.split();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = hand
            .last
            .open(&self.shared.root, directory)
            .and_then(|directory| {
                rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
            });
        let file = file.map_err(|error| self.shared.failed("create", &self.entry, error))?;
        let attributes = attributes_of(&self.entry);
        let has_all = xattr::write(&file, &attributes) == xattr::Outcome::All;
        let is_root = rustix::process::geteuid().is_root();
        let hash = (has_all && is_root).then(|| start_hash(&self.entry, &attributes));
        Ok(Begun {
            file: file.into(),
            hash,
            written: 0,
        })
    }
}

impl IncomingFile for SnapshotFile {
    type Error = SourceError;
    type Hand = Hand;

    fn write(&mut self, hand: &mut Hand, data: &[u8]) -> Result<(), SourceError> {
        let begun = self.begun(hand)?;
        if let Some(hash) = &mut begun.hash {
            hash.update(data);
        }
        begun.written += data.len() as u64;
        let written = begun.file.write_all(data);
        written.map_err(|error| self.shared.failed("write", &self.entry, error))?;
        self.shared.wrote(data.len() as u64);
        Ok(())
    }

    fn complete(mut self, hand: &mut Hand) -> Result<(), SourceError> {
        self.begun(hand)?;
        let Some(begun) = self.begun.take() else {
            return Ok(());
        };
        finish_open(&begun.file, &self.entry)
            .map_err(|error| self.shared.failed("set attributes of", &self.entry, error))?;
        // A file that grew on its way is whole, but not the one that was announced.
        let is_as_announced = begun.written == self.entry.size;
        hand.made.push(Made {
            at: self.at,
            trust: match is_as_announced {
                true => Trust::Stamp,
                false => Trust::ReadAgain,
            },
            hash: begun.hash.filter(|_| is_as_announced),
        });
        self.shared.completed(1);
        Ok(())
    }
}

/// The beginning of the checksum that the file will have.
fn start_hash(entry: &TreeEntry, attributes: &xattr::Attributes) -> FileHash {
    let time = Timestamp::default();
    let metadata = Metadata {
        kind: FileKind::File,
        mode: entry.mode,
        owner: Owner {
            uid: entry.uid,
            gid: entry.gid,
        },
        size: entry.size,
        blocks: 0,
        atime: time,
        mtime: time,
        rdev: 0,
        inode: 0,
        dev: 0,
        links: 1,
    };
    FileHash::new(RootHeader::Ignored, &metadata, &[], attributes)
}
