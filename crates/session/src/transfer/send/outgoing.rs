//! What is sent: entries, and where their content is.

use std::collections::HashMap;
use std::collections::hash_map;
use std::ffi::CStr;

use bytes::Bytes;
use kiln_store::walk::{
    Entry, Filter, Kind, ScanError, Walk, WalkRoot, scan_with, walk_order, xattr,
};
use rustix::fd::BorrowedFd;
use rustix::fs::Statx;
use rustix::io::Errno;

use super::StopFlag;
use crate::transfer::entry::{EntryKind, TreeEntry};
use crate::transfer::error::TransferError;

/// A tree to be sent, in the order of a walk.
#[derive(Debug, Default)]
pub struct OutgoingTree {
    pub(super) roots: Vec<WalkRoot>,
    pub(super) entries: Vec<Outgoing>,
}

/// One entry with the way to its content.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) entry: TreeEntry,
    pub(super) content: Content,
}

/// Where content comes from.
#[derive(Debug)]
pub(super) enum Content {
    /// There is none.
    None,
    /// Of a file below a root.
    File {
        /// Which root.
        root: usize,
        /// How much of the entry's path is not part of the path there.
        skip: usize,
    },
    /// It is this.
    Bytes(Bytes),
}

/// Who the files belong to as they are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Those they belong to here.
    Kept,
    /// Root: what a client lends has no owners.
    Root,
}

/// What is different about the entries of a tree from what lies there.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    /// Who the files belong to.
    pub owners: Owners,
    /// The time that all of them get, in nanoseconds since 1970.
    pub mtime: Option<i64>,
    /// What becomes of sockets.
    pub sockets: Sockets,
}

/// What becomes of sockets, which no protocol carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// They become empty files, as with every client of the field.
    EmptyFiles,
    /// They are left out.
    LeftOut,
}

/// A path that two trees have, and that is no directory in both of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The path.
    pub path: Vec<u8>,
    /// The trees, by the order in which they were added.
    pub trees: (usize, usize),
}

/// What a walk reads beside the stamp.
struct Detail {
    uid: u32,
    gid: u32,
    xattrs: xattr::Attributes,
    target: Option<Vec<u8>>,
}

impl OutgoingTree {
    /// Everything below `root` that the filter keeps.
    ///
    /// # Errors
    /// Something cannot be read, or the transfer was stopped.
    pub fn scan(
        root: WalkRoot,
        filter: &Filter,
        announced: Announced,
        stop: &StopFlag,
    ) -> Result<Self, TransferError> {
        let walk = Walk {
            filter,
            passed_by: None,
            stop: stop.flag(),
        };
        let found = scan_with(&root, &walk, detail).map_err(|error| scan_error(error, stop))?;
        let mut names = HashMap::new();
        let entries = found
            .into_iter()
            .filter(|(entry, _)| {
                entry.stamp.kind != Kind::Socket || announced.sockets == Sockets::EmptyFiles
            })
            .map(|(entry, detail)| outgoing(entry, detail, announced, &mut names))
            .collect();
        Ok(Self {
            roots: vec![root],
            entries,
        })
    }

    /// Puts the whole tree into a new directory.
    #[must_use]
    pub fn into_folder(mut self, mut folder: TreeEntry) -> Self {
        folder.kind = EntryKind::Directory;
        let depth = folder.path.len() + 1;
        let below = |path: &[u8]| [folder.path.as_slice(), b"/", path].concat();
        for Outgoing { entry, content } in &mut self.entries {
            entry.path = below(&entry.path);
            if let EntryKind::Link(target) = &mut entry.kind {
                *target = below(target);
            }
            if let Content::File { skip, .. } = content {
                *skip += depth;
            }
        }
        let top = Outgoing {
            entry: folder,
            content: Content::None,
        };
        self.entries.insert(0, top);
        self
    }

    /// Adds a file with this content at the top or in a directory that is there.
    #[must_use]
    pub fn with_file(mut self, mut entry: TreeEntry, content: Bytes) -> Self {
        entry.kind = EntryKind::File;
        entry.size = content.len() as u64;
        let at = self
            .entries
            .partition_point(|other| walk_order(&other.entry.path, &entry.path).is_lt());
        let content = Content::Bytes(content);
        self.entries.insert(at, Outgoing { entry, content });
        self
    }

    /// One tree that has all of several. Directories may be in more than one; the first decides
    /// about their attributes.
    ///
    /// # Errors
    /// Something else is in more than one.
    pub fn join(trees: Vec<Self>) -> Result<Self, Clash> {
        let mut roots = Vec::new();
        let mut all: Vec<(usize, Outgoing)> = Vec::new();
        for (number, mut tree) in trees.into_iter().enumerate() {
            for outgoing in &mut tree.entries {
                if let Content::File { root, .. } = &mut outgoing.content {
                    *root += roots.len();
                }
            }
            roots.append(&mut tree.roots);
            all.extend(tree.entries.into_iter().map(|outgoing| (number, outgoing)));
        }
        // Stable: of equal paths the first tree's comes first.
        all.sort_by(|(_, a), (_, b)| walk_order(&a.entry.path, &b.entry.path));
        let mut entries: Vec<Outgoing> = Vec::with_capacity(all.len());
        let mut last_tree = 0;
        for (number, outgoing) in all {
            match entries.last() {
                Some(last) if last.entry.path == outgoing.entry.path => {
                    let kinds = (&last.entry.kind, &outgoing.entry.kind);
                    if kinds != (&EntryKind::Directory, &EntryKind::Directory) {
                        return Err(Clash {
                            path: outgoing.entry.path,
                            trees: (last_tree, number),
                        });
                    }
                }
                _ => {
                    last_tree = number;
                    entries.push(outgoing);
                }
            }
        }
        Ok(Self { roots, entries })
    }
}

fn detail(directory: BorrowedFd<'_>, name: &CStr, stat: &Statx) -> Result<Detail, Errno> {
    let kind = Kind::from_mode(stat.stx_mode.into());
    let target = match kind {
        Kind::Symlink => Some(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes()),
        _ => None,
    };
    let xattrs = match kind {
        Kind::File | Kind::Directory => xattr::read_at(directory, name)?,
        _ => Vec::new(),
    };
    Ok(Detail {
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        xattrs,
        target,
    })
}

/// An entry as it is announced. `names` has the first name of each inode that has several.
fn outgoing(
    Entry { path, stamp }: Entry,
    detail: Detail,
    announced: Announced,
    names: &mut HashMap<(u64, u64), Vec<u8>>,
) -> Outgoing {
    let mut content = Content::None;
    let mut size = 0;
    let kind = match stamp.kind {
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink(detail.target.unwrap_or_default()),
        Kind::Fifo => EntryKind::Pipe,
        Kind::CharDevice => EntryKind::CharDevice(stamp.rdev),
        Kind::BlockDevice => EntryKind::BlockDevice(stamp.rdev),
        Kind::Socket => {
            content = Content::Bytes(Bytes::new());
            EntryKind::File
        }
        Kind::File => {
            size = stamp.size;
            let first = stamp
                .is_linked()
                .then(|| names.entry((stamp.device, stamp.inode)));
            match first {
                Some(hash_map::Entry::Occupied(first)) => EntryKind::Link(first.get().clone()),
                first => {
                    if let Some(first) = first {
                        first.insert_entry(path.clone());
                    }
                    content = Content::File { root: 0, skip: 0 };
                    EntryKind::File
                }
            }
        }
    };
    let (uid, gid) = match announced.owners {
        Owners::Kept => (detail.uid, detail.gid),
        Owners::Root => (0, 0),
    };
    let mtime = stamp.mtime.seconds.saturating_mul(1_000_000_000);
    let xattrs = detail.xattrs.into_iter();
    let entry = TreeEntry {
        path,
        kind,
        mode: stamp.mode,
        uid,
        gid,
        size,
        mtime: announced
            .mtime
            .unwrap_or_else(|| mtime.saturating_add(stamp.mtime.nanos.into())),
        // A name that is no text cannot be sent.
        xattrs: xattrs
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect(),
    };
    Outgoing { entry, content }
}

fn scan_error(error: ScanError, stop: &StopFlag) -> TransferError {
    match stop.is_set() {
        true => TransferError::Stopped,
        false => TransferError::file(error.action, &error.path, error.error),
    }
}
