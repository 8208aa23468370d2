//! File metadata as the wire has it.

use kiln_protocol::fsutil::Stat;
use kiln_session::transfer::{EntryKind, TreeEntry};
use kiln_store::tree::{FileKind, Follow, Metadata, Root, TreeError};

/// What is at `path`, called `name`. Blocks.
pub(super) fn stat(root: &Root, path: &str, follow: Follow, name: &str) -> Result<Stat, TreeError> {
    let metadata = root.metadata(path, follow)?;
    let kind = match metadata.kind {
        FileKind::Directory => EntryKind::Directory,
        FileKind::Symlink => {
            let target = root.read_link(path)?;
            EntryKind::Symlink(target.to_string_lossy().into_owned().into_bytes())
        }
        FileKind::BlockDevice => EntryKind::BlockDevice(metadata.rdev),
        FileKind::CharDevice => EntryKind::CharDevice(metadata.rdev),
        FileKind::Fifo => EntryKind::Pipe,
        FileKind::File | FileKind::Socket => EntryKind::File,
    };
    let size = match metadata.kind {
        FileKind::Directory => 0,
        _ => metadata.size,
    };
    let entry = TreeEntry {
        path: name.as_bytes().to_vec(),
        kind,
        mode: metadata.mode,
        uid: metadata.owner.uid,
        gid: metadata.owner.gid,
        size,
        mtime: nanoseconds(&metadata),
        xattrs: root.xattrs(path, follow)?.into_iter().collect(),
    };
    Ok(Stat {
        size: i64::try_from(size).unwrap_or(i64::MAX),
        ..entry.to_stat()
    })
}

fn nanoseconds(metadata: &Metadata) -> i64 {
    let seconds = metadata.mtime.seconds.saturating_mul(1_000_000_000);
    seconds.saturating_add(metadata.mtime.nanos.into())
}
