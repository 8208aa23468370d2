//! Copying file contents, several files at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;

use crate::tree::attributes::Attributes;
use crate::tree::dir::{Dir, Name, file_xattrs};
use crate::tree::error::TreeError;
use crate::tree::metadata::Metadata;

/// Files copied by the walking thread itself before others are started: most copies are smaller.
const INLINE_FILES: usize = 16;
/// Files that wait for a thread. Each holds two directories open.
const QUEUE: usize = 64;
const MAX_THREADS: usize = 4;
/// Files up to this size are not worth asking the file system for a clone.
const SMALL: u64 = 256 << 10;
const BUFFER: usize = 256 << 10;

/// One file to copy.
pub(super) struct FileJob {
    pub(super) source: Arc<Dir>,
    pub(super) source_name: Name,
    pub(super) dest: Arc<Dir>,
    pub(super) dest_name: Name,
    /// Path in the destination root.
    pub(super) path: Vec<u8>,
    pub(super) metadata: Metadata,
    pub(super) attributes: Attributes,
}

impl FileJob {
    /// Copies content, attributes and extended attributes.
    pub(super) fn run(mut self) -> Result<(), TreeError> {
        self.copy()
            .map_err(|error| TreeError::os("copy", &self.path, error))
    }

    fn copy(&mut self) -> io::Result<()> {
        let source = self.source.open_file(&self.source_name)?;
        let dest = self.dest.create_file(&self.dest_name)?;
        copy_content(&source, &dest, &self.metadata)?;
        self.attributes.xattrs = file_xattrs(&source)?;
        self.attributes.set_on_file(&dest)
    }
}

/// Threads that copy files while the walk goes on.
pub(super) struct FilePool<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    inline: usize,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    queue: Option<SyncSender<FileJob>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    failed: AtomicBool,
    failure: Mutex<Option<TreeError>>,
}

impl Shared {
    fn fail(&self, error: TreeError) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), TreeError> {
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl<'scope, 'env> FilePool<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self {
            scope,
            inline: 0,
            threads: Vec::new(),
            queue: None,
            shared: Arc::default(),
        }
    }

    /// Copies the file now or soon. An error may be that of an earlier file.
    pub(super) fn submit(&mut self, job: FileJob) -> Result<(), TreeError> {
        self.shared.check()?;
        if self.inline < INLINE_FILES {
            self.inline += 1;
            return job.run();
        }
        let queue = match self.queue.take() {
            Some(queue) => queue,
            None => self.start(),
        };
        // A queue that takes nothing has lost its threads; then this one does the work.
        let sent = queue.send(job).or_else(|unsent| unsent.0.run());
        self.queue = Some(queue);
        sent
    }

    /// Waits for all files; gives the first failure.
    pub(super) fn finish(mut self) -> Result<(), TreeError> {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.shared.check()
    }

    fn start(&mut self) -> SyncSender<FileJob> {
        let (sender, receiver) = sync_channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let count = std::thread::available_parallelism()
            .map_or(2, |count| count.get().clamp(2, MAX_THREADS));
        for _ in 0..count {
            let (receiver, shared) = (receiver.clone(), self.shared.clone());
            self.threads
                .push(self.scope.spawn(move || work(&receiver, &shared)));
        }
        sender
    }
}

fn work(queue: &Mutex<Receiver<FileJob>>, shared: &Shared) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        // After a failure the queue is only emptied, so that the walk is not left waiting.
        if !shared.failed.load(Ordering::Relaxed)
            && let Err(error) = job.run()
        {
            shared.fail(error);
        }
    }
}

/// Copies a file's bytes in the cheapest way that both file systems offer: shared blocks, a copy inside the kernel, or
/// through a buffer. Holes stay holes.
fn copy_content(source: &File, dest: &File, metadata: &Metadata) -> io::Result<()> {
    let size = metadata.size;
    if size == 0 {
        return Ok(());
    }
    if size > SMALL && fs::ioctl_ficlone(dest, source).is_ok() {
        return Ok(());
    }
    if metadata.blocks.saturating_mul(512) < size && size > SMALL {
        return copy_parts(source, dest, size);
    }
    if size > SMALL && copy_in_kernel(source, dest, size)? {
        return Ok(());
    }
    copy_buffered(source, dest, size)
}

/// Copies only what is stored of a sparse file.
fn copy_parts(source: &File, dest: &File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let start = match fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Only a hole follows.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = fs::seek(source, SeekFrom::Hole(start))?;
        fs::seek(source, SeekFrom::Start(start))?;
        fs::seek(dest, SeekFrom::Start(start))?;
        copy_buffered(source, dest, end - start)?;
        at = end;
    }
    dest.set_len(size)
}

/// Whether the kernel copied the file. It declines before the first byte if it cannot do it between these two.
fn copy_in_kernel(source: &File, dest: &File, size: u64) -> io::Result<bool> {
    let mut left = size;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
        match fs::copy_file_range(source, None, dest, None, length) {
            // The file is shorter than it was, or this file system reports no bytes: the buffer finds out.
            Ok(0) => return Ok(false),
            Ok(copied) => left -= copied as u64,
            Err(Errno::INTR) => {}
            Err(_) if left == size => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Copies from the current position of both files.
fn copy_buffered(mut source: &File, mut dest: &File, limit: u64) -> io::Result<()> {
    thread_local! {
        static SPACE: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    SPACE.with_borrow_mut(|space| {
        space.resize(BUFFER, 0);
        let mut left = limit;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            match source.read(&mut space[..want]) {
                Ok(0) => break,
                Ok(read) => {
                    dest.write_all(&space[..read])?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}
