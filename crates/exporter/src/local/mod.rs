//! `type=local`: the files, in a directory.
//!
//! Directories are worked on in parallel. Every step goes through an open directory and a name in it that is never
//! followed if it is a symbolic link, so nothing outside of the destination is ever touched, whatever it holds.
//! Files that are as they should be are left alone, others are replaced as a whole.

mod directory;
mod entry;
mod links;
mod metadata;
mod queue;
mod remove;
mod send;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags};

use crate::ExportError;
use crate::cancel::Cancelled;
use crate::opened::{OpenTree, folder_name};
use crate::options::LocalMode;
use crate::progress::Step;

pub(crate) use send::{SendPlan, send_trees};

use directory::DirNode;
use links::Links;
use queue::{Queue, Task};

/// How a local export is to be done.
pub(crate) struct LocalPlan {
    pub(crate) mode: LocalMode,
    /// Whether every tree gets a folder of its own.
    pub(crate) split: bool,
    /// The time that every file gets.
    pub(crate) epoch: Option<i64>,
    pub(crate) threads: usize,
    pub(crate) cancelled: Cancelled,
}

/// What all workers share.
pub(crate) struct Job {
    mode: LocalMode,
    epoch: Option<i64>,
    owner: (u32, u32),
    trees: Vec<String>,
    cancelled: Cancelled,
    links: Links,
    queue: Queue,
    copied: AtomicU64,
}

/// Makes `dest` hold the trees. The directory is created if it is missing, private to its owner.
pub(crate) fn write_local(
    dest: &Path,
    trees: Vec<OpenTree>,
    plan: LocalPlan,
    step: &Step,
) -> Result<(), ExportError> {
    let root = open_destination(dest)?;
    let job = Job {
        mode: plan.mode,
        epoch: plan.epoch,
        owner: (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        ),
        trees: trees.iter().map(|tree| tree.platform.clone()).collect(),
        cancelled: plan.cancelled,
        links: Links::default(),
        queue: Queue::default(),
        copied: AtomicU64::new(0),
    };
    let root = Arc::new(DirNode::root(root, dest));
    match plan.split {
        true => job.start_split(&root, &trees)?,
        false => {
            let mut sources = Vec::new();
            for (tree, opened) in trees.iter().enumerate() {
                for fd in opened.layers() {
                    sources.push((
                        tree,
                        duplicate(fd)
                            .map_err(|error| job.file_error("open", &root, None, error))?,
                    ));
                }
            }
            job.queue.push(Task::Listed {
                node: root.clone(),
                sources,
            });
        }
    }
    job.run(plan.threads, step)?;
    job.make_links(&root)?;
    let completion = root.completion();
    drop(root);
    completion.outcome()
}

impl Job {
    /// One folder per tree; with `mode=delete` everything else goes.
    fn start_split(&self, root: &Arc<DirNode>, trees: &[OpenTree]) -> Result<(), ExportError> {
        let folders: Vec<_> = trees
            .iter()
            .map(|tree| folder_name(&tree.platform))
            .collect();
        if self.mode == LocalMode::Delete {
            self.remove_others(root, |name| {
                folders.iter().any(|folder| folder.as_bytes() == name)
            })?;
        }
        for (index, (tree, folder)) in trees.iter().zip(&folders).enumerate() {
            let node = self.enter_folder(root, folder)?;
            let layers = tree.layers().map(|fd| Ok((index, duplicate(fd)?)));
            let sources = layers.collect::<rustix::io::Result<Vec<_>>>();
            let sources = sources.map_err(|error| self.file_error("open", root, None, error))?;
            self.queue.push(Task::Listed { node, sources });
        }
        Ok(())
    }

    fn run(&self, threads: usize, step: &Step) -> Result<(), ExportError> {
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    self.queue.work(|task| self.perform(task));
                });
            }
        });
        step.advance(self.copied.load(Ordering::Relaxed), None);
        let failure = self.queue.take_failure();
        match self.cancelled.is_set() {
            true => Err(ExportError::Canceled),
            false => failure.map_or(Ok(()), Err),
        }
    }

    fn perform(&self, task: Task) -> Result<(), ExportError> {
        if self.cancelled.is_set() {
            return Err(ExportError::Canceled);
        }
        match task {
            Task::Named {
                parent,
                name,
                sources,
            } => self.enter(&parent, &name, sources),
            Task::Listed { node, sources } => self.list(&node, sources),
            Task::Files {
                node,
                sources,
                files,
            } => self.copy_files(&node, &sources, &files),
        }
    }

    /// The error for something in a directory of the destination.
    fn file_error(
        &self,
        action: &'static str,
        node: &DirNode,
        name: Option<&[u8]>,
        error: impl Into<std::io::Error>,
    ) -> ExportError {
        ExportError::File {
            action,
            path: node.path_of(name),
            source: error.into(),
        }
    }
}

fn open_destination(dest: &Path) -> Result<OwnedFd, ExportError> {
    let failed = |source| ExportError::File {
        action: "open",
        path: dest.to_owned(),
        source,
    };
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dest)
        .map_err(failed)?;
    // The destination itself may be a symbolic link: the user named it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, dest, flags, Mode::empty()).map_err(|error| failed(error.into()))
}

fn duplicate(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(fd, c".", flags, Mode::empty())
}
