//! Directories of a local export.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;

use super::Job;
use super::metadata::{self, Metadata};
use super::queue::{Source, Task};
use crate::ExportError;
use crate::opened::attestation_in_the_way;
use crate::options::LocalMode;

/// Files handed to a worker at once: enough to outweigh the hand-over, few enough to keep all workers busy.
const BATCH: usize = 64;

/// Names in source directories, with what they are and the positions of the sources that have them.
type Entries = HashMap<Vec<u8>, (FileType, Vec<usize>)>;

/// A directory of the destination. When the last piece of work in it is done, it gets its attributes: earlier they
/// would be changed again by that work, or forbid it.
pub(super) struct DirNode {
    pub(super) fd: OwnedFd,
    /// Where it is in the destination.
    path: PathBuf,
    attributes: Option<Metadata>,
    root: Arc<Root>,
    /// Parents are completed after their children.
    _parent: Option<Arc<DirNode>>,
}

/// What all directories of a destination share.
struct Root {
    path: PathBuf,
    failure: Mutex<Option<ExportError>>,
}

/// Takes the first error that completing directories met.
pub(super) struct Completion(Arc<Root>);

impl Completion {
    pub(super) fn outcome(self) -> Result<(), ExportError> {
        self.0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .map_or(Ok(()), Err)
    }
}

impl DirNode {
    /// The destination itself, whose attributes are left alone.
    pub(super) fn root(fd: OwnedFd, path: &Path) -> Self {
        let root = Arc::new(Root {
            path: path.to_owned(),
            failure: Mutex::default(),
        });
        Self {
            fd,
            path: PathBuf::new(),
            attributes: None,
            root,
            _parent: None,
        }
    }

    fn child(self: &Arc<Self>, name: &CString, fd: OwnedFd, attributes: Metadata) -> Self {
        Self {
            fd,
            path: self.place_of(name.as_bytes()),
            attributes: Some(attributes),
            root: self.root.clone(),
            _parent: Some(self.clone()),
        }
    }

    /// Where something in this directory is in the destination.
    pub(super) fn place_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// The path for people, of the directory or of something in it.
    pub(super) fn path_of(&self, name: Option<&[u8]>) -> PathBuf {
        let place = name.map_or_else(|| self.path.clone(), |name| self.place_of(name));
        self.root.path.join(place)
    }

    pub(super) fn completion(&self) -> Completion {
        Completion(self.root.clone())
    }
}

impl Drop for DirNode {
    fn drop(&mut self) {
        let Some(attributes) = &self.attributes else {
            return;
        };
        if let Err(source) = attributes.apply_to_directory(&self.fd) {
            let error = ExportError::File {
                action: "set the attributes of",
                path: self.path_of(None),
                source,
            };
            self.root
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }
}

impl Job {
    /// Makes a platform's folder.
    pub(super) fn enter_folder(
        &self,
        root: &Arc<DirNode>,
        folder: &str,
    ) -> Result<Arc<DirNode>, ExportError> {
        let name = CString::new(folder).map_err(|error| {
            self.file_error(
                "create",
                root,
                Some(folder.as_bytes()),
                std::io::Error::from(error),
            )
        })?;
        let fd = self.make_directory(root, &name)?;
        Ok(Arc::new(root.child(
            &name,
            fd,
            metadata::folder(self.owner, self.epoch),
        )))
    }

    /// Opens a directory in its sources and in the destination.
    pub(super) fn enter(
        &self,
        (parent, parent_sources): &(Arc<DirNode>, Arc<Vec<Source>>),
        name: &CString,
        positions: Vec<usize>,
    ) -> Result<(), ExportError> {
        let failed = |error: Errno| self.file_error("read", parent, Some(name.as_bytes()), error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut sources = Vec::with_capacity(positions.len());
        for position in positions {
            let (tree, source) = &parent_sources[position];
            sources.push((
                *tree,
                openat(source, name, flags, Mode::empty()).map_err(failed)?,
            ));
        }
        let Some((_, first)) = sources.first() else {
            return Ok(());
        };
        let attributes = metadata::of(first.as_fd(), self.owner, self.epoch)
            .map_err(|error| self.file_error("read", parent, Some(name.as_bytes()), error))?;
        let fd = self.make_directory(parent, name)?;
        let node = Arc::new(parent.child(name, fd, attributes));
        self.list(&node, sources)
    }

    /// A directory in the destination, in the place of whatever else has its name.
    fn make_directory(&self, parent: &DirNode, name: &CString) -> Result<OwnedFd, ExportError> {
        let failed = |error: Errno| self.file_error("create", parent, Some(name.as_bytes()), error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match mkdirat(&parent.fd, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty()).map_err(failed)?;
                    mkdirat(&parent.fd, name, Mode::RWXU).map_err(failed)?;
                }
            }
            Err(error) => return Err(failed(error)),
        }
        match openat(&parent.fd, name, flags, Mode::empty()) {
            // A directory of an earlier export that its owner may not write to.
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(&parent.fd, name, Mode::RWXU, AtFlags::empty())
                    .map_err(failed)?;
                openat(&parent.fd, name, flags, Mode::empty()).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// Hands out the entries of a directory that is open.
    pub(super) fn list(
        &self,
        node: &Arc<DirNode>,
        sources: Vec<Source>,
    ) -> Result<(), ExportError> {
        let entries = self.read_entries(node, &sources)?;
        self.make_writable(node)?;
        if self.mode == LocalMode::Delete {
            self.remove_others(node, |name| entries.contains_key(name))?;
        }
        let sources = Arc::new(sources);
        let mut batch = Vec::new();
        for (name, (kind, positions)) in entries {
            let name = CString::new(name).map_err(|error| {
                self.file_error("read", node, None, std::io::Error::from(error))
            })?;
            if kind == FileType::Directory {
                self.queue.push(Task::Named {
                    parent: (node.clone(), sources.clone()),
                    name,
                    sources: positions,
                });
                continue;
            }
            batch.push((name, positions.first().copied().unwrap_or_default()));
            if batch.len() == BATCH {
                let files = std::mem::take(&mut batch);
                self.queue.push(Task::Files {
                    node: node.clone(),
                    sources: sources.clone(),
                    files,
                });
            }
        }
        self.copy_files(node, &sources, &batch)
    }

    /// A directory that an earlier export left read-only is opened for this one.
    fn make_writable(&self, node: &DirNode) -> Result<(), ExportError> {
        if node.attributes.is_none() || self.owner.0 == 0 {
            return Ok(());
        }
        let failed = |error: Errno| self.file_error("create files in", node, None, error);
        let stat = rustix::fs::fstat(&node.fd).map_err(failed)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if !mode.contains(Mode::RWXU) && stat.st_uid == self.owner.0 {
            rustix::fs::fchmod(&node.fd, mode | Mode::RWXU).map_err(failed)?;
        }
        Ok(())
    }

    /// All names in the sources, with the positions of the sources that have them. Only directories may be in several.
    fn read_entries(&self, node: &DirNode, sources: &[Source]) -> Result<Entries, ExportError> {
        let mut entries = Entries::new();
        for (position, (tree, source)) in sources.iter().enumerate() {
            let failed = |error: Errno| self.file_error("read", node, None, error);
            for entry in Dir::read_from(source).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let kind = match entry.file_type() {
                    FileType::Unknown => {
                        let stat =
                            statat(source, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                        FileType::from_raw_mode(stat.st_mode)
                    }
                    known => known,
                };
                let (known, positions) = entries
                    .entry(name.to_bytes().to_vec())
                    .or_insert_with(|| (kind, Vec::new()));
                if !positions.is_empty()
                    && (kind, *known) != (FileType::Directory, FileType::Directory)
                {
                    let path = node.path_of(Some(name.to_bytes()));
                    let other = sources.get(positions[0]).map_or(*tree, |(tree, _)| *tree);
                    if other == *tree {
                        return Err(attestation_in_the_way(&path.to_string_lossy()));
                    }
                    return Err(ExportError::Result(format!(
                        "cannot overwrite {} from {} with {} when split option is disabled",
                        path.display(),
                        self.trees[other],
                        self.trees[*tree],
                    )));
                }
                positions.push(position);
            }
        }
        Ok(entries)
    }
}
