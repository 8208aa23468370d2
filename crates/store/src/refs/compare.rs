//! A layer that leads from one tree to another that is not built on it: found by comparing the two.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::entry::{find_attribute, names, repeat_dir, repeat_file, repeat_times, whiteout};
use crate::disk::{AtPath, DiskError};
use crate::mount::OverlayFlavor;

/// The two trees.
pub(super) struct Comparison<'a> {
    /// The tree before, mounted.
    pub(super) lower: &'a Path,
    /// The tree after, mounted.
    pub(super) upper: &'a Path,
    /// The directories the upper tree is mounted from, topmost first: files are linked from there.
    pub(super) upper_layers: &'a [PathBuf],
    /// What the layer is mounted with.
    pub(super) flavor: OverlayFlavor,
}

/// The layer being written.
struct Writer<'a> {
    trees: &'a Comparison<'a>,
    target: &'a Path,
    /// Files of the upper tree with several names: where the first one went.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Comparison<'_> {
    /// Writes what differs into `target`, an empty overlay upper directory: whole entries for what was added or
    /// changed, whiteouts for what is gone.
    pub(super) fn write(&self, target: &Path) -> Result<(), DiskError> {
        let mut writer = Writer {
            trees: self,
            target,
            linked: HashMap::new(),
        };
        writer.directory(Path::new(""))?;
        repeat_dir(self.upper, target)?;
        repeat_times(self.upper, target)
    }
}

impl Writer<'_> {
    /// Compares a directory that both trees have.
    fn directory(&mut self, path: &Path) -> Result<(), DiskError> {
        let (before, after) = (
            names(&self.trees.lower.join(path))?,
            names(&self.trees.upper.join(path))?,
        );
        for name in before
            .iter()
            .filter(|name| after.binary_search(name).is_err())
        {
            self.parents(path)?;
            whiteout(&self.target.join(path).join(name), self.trees.flavor)?;
        }
        for name in &after {
            self.entry(&path.join(name), before.binary_search(name).is_ok())?;
        }
        Ok(())
    }

    /// Compares an entry of the upper tree with that of the lower one.
    fn entry(&mut self, path: &Path, was_there: bool) -> Result<(), DiskError> {
        let (lower, upper) = (self.trees.lower.join(path), self.trees.upper.join(path));
        let after = fs::symlink_metadata(&upper).at("look up", &upper)?;
        let before = match was_there {
            true => Some(fs::symlink_metadata(&lower).at("look up", &lower)?),
            false => None,
        };
        let is_same = match &before {
            Some(before) => same_entry((&lower, before), (&upper, &after))?,
            None => false,
        };
        let both_dirs = after.is_dir() && before.is_some_and(|before| before.is_dir());
        match (is_same, after.is_dir()) {
            (true, false) => Ok(()),
            (true, true) => {
                self.directory(path)?;
                self.settle(path)
            }
            (false, true) => {
                self.parents(path)?;
                repeat_dir(&upper, &self.target.join(path))?;
                if both_dirs {
                    self.directory(path)?
                } else {
                    self.added(path)?
                }
                self.settle(path)
            }
            (false, false) => self.file(path, &after),
        }
    }

    /// Adds everything in a directory that the lower tree does not have.
    fn added(&mut self, path: &Path) -> Result<(), DiskError> {
        for name in names(&self.trees.upper.join(path))? {
            self.entry(&path.join(name), false)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<(), DiskError> {
        self.parents(path.parent().unwrap_or(Path::new("")))?;
        let target = self.target.join(path);
        if metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            if let Some(first) = self.linked.get(&inode) {
                return fs::hard_link(first, &target).at("link", &target);
            }
            self.linked.insert(inode, target.clone());
        }
        let real = self.real_file(path);
        let real = real
            .as_ref()
            .map(|file| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
        repeat_file(&self.trees.upper.join(path), real.as_deref(), &target)
    }

    /// The file itself, where the mounted tree shows it from. The topmost layer that has it is the one.
    fn real_file(&self, path: &Path) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        self.trees.upper_layers.iter().find_map(|layer| {
            let layer = openat2(
                CWD,
                layer,
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::empty(),
            );
            openat2(layer.ok()?, path, flags, Mode::empty(), inside).ok()
        })
    }

    /// Makes sure that the directory and those above it are in the layer.
    fn parents(&mut self, path: &Path) -> Result<(), DiskError> {
        let mut missing: Vec<&Path> = path
            .ancestors()
            .take_while(|directory| !self.target.join(directory).exists())
            .collect();
        while let Some(directory) = missing.pop() {
            repeat_dir(
                &self.trees.upper.join(directory),
                &self.target.join(directory),
            )?;
        }
        Ok(())
    }

    /// Gives a directory its times, if it is in the layer.
    fn settle(&self, path: &Path) -> Result<(), DiskError> {
        let target = self.target.join(path);
        if target.exists() {
            repeat_times(&self.trees.upper.join(path), &target)
        } else {
            Ok(())
        }
    }
}

/// Whether the field's differ takes two entries for the same: equal attributes, and for files equal size and time,
/// with a look at the content where times have no fraction of a second and may have been cut off.
fn same_entry(before: (&Path, &Metadata), after: (&Path, &Metadata)) -> Result<bool, DiskError> {
    let ((lower, before), (upper, after)) = (before, after);
    let attributes = |metadata: &Metadata| {
        (
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.rdev(),
        )
    };
    if attributes(before) != attributes(after) {
        return Ok(false);
    }
    if find_attribute(lower, "security.capability")?
        != find_attribute(upper, "security.capability")?
    {
        return Ok(false);
    }
    if after.is_dir() {
        return Ok(true);
    }
    let facts = |metadata: &Metadata| (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
    if facts(before) != facts(after) {
        return Ok(false);
    }
    if after.mtime_nsec() != 0 {
        return Ok(true);
    }
    if after.is_symlink() {
        return Ok(fs::read_link(lower).at("read link", lower)?
            == fs::read_link(upper).at("read link", upper)?);
    }
    if !after.is_file() || after.size() == 0 {
        Ok(true)
    } else {
        same_content(lower, upper)
    }
}

fn same_content(lower: &Path, upper: &Path) -> Result<bool, DiskError> {
    let mut before = File::open(lower).at("open", lower)?;
    let mut after = File::open(upper).at("open", upper)?;
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let count = before.read(&mut left).at("read", lower)?;
        if count == 0 {
            return Ok(after.read(&mut right[..1]).at("read", upper)? == 0);
        }
        if after.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}
