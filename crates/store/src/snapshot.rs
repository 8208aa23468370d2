//! The directories of trees: `snapshots/<row>/fs` and what belongs beside it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{AtPath, DiskError};
use crate::lease::locks::Row;
use crate::refs::new_id;

/// Makes, finds, measures and removes the directories.
#[derive(Debug)]
pub(crate) struct Snapshots {
    root: PathBuf,
    trash: PathBuf,
    empty: PathBuf,
    mounts: PathBuf,
}

/// What a directory takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Bytes; of files that other trees share by hard links, this tree's part.
    pub(crate) bytes: u64,
    /// Whether there are such files, so that the figure changes when another tree does.
    pub(crate) linked: bool,
}

impl Snapshots {
    /// Makes the directories that hold all others.
    pub(crate) fn at(store: &Path) -> Result<Snapshots, DiskError> {
        let found = Snapshots {
            root: store.join("snapshots"),
            trash: store.join("trash"),
            empty: store.join("empty"),
            mounts: store.join("mounts"),
        };
        for directory in [&found.root, &found.trash, &found.empty, &found.mounts] {
            fs::create_dir_all(directory).at("create directory", directory)?;
        }
        Ok(found)
    }

    fn home(&self, row: Row) -> PathBuf {
        self.root.join(row.to_string())
    }

    /// The tree of a row.
    pub(crate) fn tree(&self, row: Row) -> PathBuf {
        self.home(row).join("fs")
    }

    /// Where a tree is unpacked before it is complete.
    pub(crate) fn unfinished(&self, row: Row) -> PathBuf {
        self.home(row).join("unfinished")
    }

    /// The tree for use on top of something else.
    pub(crate) fn moved(&self, row: Row) -> PathBuf {
        self.home(row).join("moved")
    }

    /// A directory that is always empty.
    pub(crate) fn empty(&self) -> &Path {
        &self.empty
    }

    /// Where old kernels mount things for a moment. Never to be deleted with what is in it: that may be a mount.
    pub(crate) fn mounts(&self) -> &Path {
        &self.mounts
    }

    /// Makes an empty tree.
    pub(crate) fn create(&self, row: Row) -> Result<PathBuf, DiskError> {
        let tree = self.tree(row);
        self.create_at(&tree)?;
        Ok(tree)
    }

    /// Makes an empty directory that looks like the root of a tree.
    pub(crate) fn create_at(&self, tree: &Path) -> Result<(), DiskError> {
        fs::create_dir_all(tree).at("create directory", tree)?;
        fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).at("change mode of", tree)
    }

    /// Gives the root of `tree` the attributes of that of `like`.
    pub(crate) fn copy_root(&self, like: &Path, tree: &Path) -> Result<(), DiskError> {
        let wanted = fs::metadata(like).at("look up", like)?;
        let own = fs::metadata(tree).at("look up", tree)?;
        if (wanted.uid(), wanted.gid()) != (own.uid(), own.gid()) {
            chown(tree, Some(wanted.uid()), Some(wanted.gid())).at("change owner of", tree)?;
        }
        let mode = fs::Permissions::from_mode(wanted.mode() & 0o7777);
        fs::set_permissions(tree, mode).at("change mode of", tree)
    }

    /// Whether the tree was mounted before.
    pub(crate) fn has_work_dirs(&self, row: Row) -> bool {
        self.home(row).join("work").exists()
    }

    /// Removes everything of a row where it lies, as an attempt that was killed may have left it.
    pub(crate) fn clear(&self, row: Row) -> Result<(), DiskError> {
        remove_tree(&self.home(row))
    }

    /// Makes a fresh work directory for one overlay mount. A mount with `volatile` leaves a mark there that makes
    /// the kernel refuse a second one.
    pub(crate) fn new_work_dir(&self, row: Row) -> Result<PathBuf, DiskError> {
        let work = self.home(row).join("work").join(new_id());
        fs::create_dir_all(&work).at("create directory", &work)?;
        Ok(work)
    }

    /// Takes the work directories away, and returns where they wait to be deleted.
    pub(crate) fn condemn_work_dirs(&self, row: Row) -> Result<Option<PathBuf>, DiskError> {
        self.condemn_path(&self.home(row).join("work"), row)
    }

    /// Takes everything of a row away at once, and returns where it waits to be deleted.
    pub(crate) fn condemn(&self, row: Row) -> Result<Option<PathBuf>, DiskError> {
        self.condemn_path(&self.home(row), row)
    }

    fn condemn_path(&self, path: &Path, row: Row) -> Result<Option<PathBuf>, DiskError> {
        let grave = self.trash.join(format!("{row}-{}", new_id()));
        match fs::rename(path, &grave) {
            Ok(()) => Ok(Some(grave)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::new("remove", path, error)),
        }
    }

    /// The rows that have directories.
    pub(crate) fn rows(&self) -> Result<Vec<Row>, DiskError> {
        let mut rows = Vec::new();
        for entry in fs::read_dir(&self.root).at("list", &self.root)? {
            let name = entry.at("list", &self.root)?.file_name();
            rows.extend(name.to_str().and_then(|name| name.parse::<Row>().ok()));
        }
        Ok(rows)
    }

    /// Deletes what waits for it, until `ending` is set.
    pub(crate) fn empty_trash(&self, ending: &AtomicBool) -> Result<(), DiskError> {
        for entry in fs::read_dir(&self.trash).at("list", &self.trash)? {
            if ending.load(Ordering::Relaxed) {
                break;
            }
            remove_tree(&entry.at("list", &self.trash)?.path())?;
        }
        Ok(())
    }

    /// Measures everything of a row.
    pub(crate) fn usage(&self, row: Row) -> Result<Usage, DiskError> {
        let mut count = Count::default();
        count.add(&self.home(row))?;
        Ok(count.total())
    }

    /// Writes all data of the file system the trees lie on.
    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        let directory = File::open(&self.root).at("open", &self.root)?;
        rustix::fs::syncfs(&directory).at("write out", &self.root)
    }
}

/// Adds up a directory tree.
#[derive(Default)]
struct Count {
    bytes: u64,
    /// Inodes with several names: bytes, names in all, names seen here.
    shared: HashMap<(u64, u64), (u64, u64, u64)>,
}

impl Count {
    fn add(&mut self, directory: &Path) -> Result<(), DiskError> {
        let mut pending = vec![directory.to_owned()];
        while let Some(path) = pending.pop() {
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                // A tree may change while it is measured.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(DiskError::new("measure", &path, error)),
            };
            let bytes = metadata.blocks() * 512;
            if !metadata.is_dir() && metadata.nlink() > 1 {
                let names = self
                    .shared
                    .entry((metadata.dev(), metadata.ino()))
                    .or_insert((bytes, metadata.nlink(), 0));
                names.2 += 1;
                continue;
            }
            self.bytes += bytes;
            if metadata.is_dir() {
                match fs::read_dir(&path) {
                    Ok(entries) => pending.extend(entries.flatten().map(|entry| entry.path())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(DiskError::new("measure", &path, error)),
                }
            }
        }
        Ok(())
    }

    fn total(self) -> Usage {
        let linked = self.shared.values().any(|(_, all, here)| here < all);
        let shared: u64 = self
            .shared
            .values()
            .map(|(bytes, all, here)| bytes * here / (*all).max(1))
            .sum();
        Usage {
            bytes: self.bytes + shared,
            linked,
        }
    }
}

/// Deletes a directory tree, whoever else deletes it at the same time.
pub(crate) fn remove_tree(path: &Path) -> Result<(), DiskError> {
    for attempt in 0.. {
        let error = match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::NotFound if !path.exists() => return Ok(()),
            // A tree may hold directories that even their owner may not list.
            io::ErrorKind::PermissionDenied if attempt == 0 => unprotect(path),
            io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty if attempt < 3 => {}
            _ => return Err(DiskError::new("remove", path, error)),
        }
    }
    Ok(())
}

fn unprotect(root: &Path) {
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
            pending.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
    }
}
