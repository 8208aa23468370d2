//! The threads that write what has come.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;

use super::budget::Budget;
use crate::transfer::error::TransferError;

/// Beyond this many, threads only wait for each other in the kernel.
const MOST: usize = 8;

/// Neighbours in the list that go to the same thread: mostly they are in one directory.
const NEIGHBOURS: usize = 32;

/// Lists of jobs that may wait for one thread.
const WAITING: usize = 16;

/// A file whose content is on its way. Nothing need exist of it before the first write.
pub trait IncomingFile: Send + 'static {
    /// How it fails.
    type Error: Send;
    /// What one thread works with and brings back.
    type Hand: Default + Send;

    /// Writes the next bytes.
    ///
    /// # Errors
    /// They cannot be written.
    fn write(&mut self, hand: &mut Self::Hand, data: &[u8]) -> Result<(), Self::Error>;

    /// The content is complete; there may be none at all.
    ///
    /// # Errors
    /// The file cannot be made what it should be.
    fn complete(self, hand: &mut Self::Hand) -> Result<(), Self::Error>;
}

/// Some content of one file.
pub(super) struct Job<F> {
    pub(super) at: usize,
    /// The file itself, in its first job.
    pub(super) file: Option<F>,
    pub(super) content: Vec<Bytes>,
    pub(super) part: Part,
}

/// Whether more content follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    More,
    Last,
}

/// What all writers share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) budget: Budget,
    failed: AtomicBool,
}

/// The writers, as the reader sees them. Jobs are handed over in lists.
pub(super) struct Writers<'scope, F: IncomingFile> {
    shared: &'scope Shared,
    threads: Vec<Writer<'scope, F>>,
}

struct Writer<'scope, F: IncomingFile> {
    jobs: SyncSender<Vec<Job<F>>>,
    next: Vec<Job<F>>,
    thread: ScopedJoinHandle<'scope, Result<F::Hand, F::Error>>,
}

impl<'scope, F: IncomingFile> Writers<'scope, F> {
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>, shared: &'scope Shared) -> Self {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (0..count.min(MOST)).map(|_| {
            let (sender, jobs) = sync_channel(WAITING);
            Writer {
                jobs: sender,
                next: Vec::new(),
                thread: scope.spawn(move || work(&jobs, shared)),
            }
        });
        Self {
            shared,
            threads: threads.collect(),
        }
    }

    /// Adds a job to the next list. All jobs of one file go to one thread.
    pub(super) fn add(&mut self, job: Job<F>) {
        let thread = (job.at / NEIGHBOURS) % self.threads.len();
        self.threads[thread].next.push(job);
    }

    /// Hands the lists over.
    pub(super) fn flush(&mut self) {
        for thread in &mut self.threads {
            if !thread.next.is_empty() {
                // A thread that is gone has failed, which is found out otherwise.
                thread.jobs.send(std::mem::take(&mut thread.next)).ok();
            }
        }
    }

    pub(super) fn have_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Waits until everything is written.
    pub(super) fn finish(mut self) -> Result<Vec<F::Hand>, F::Error>
    where
        F::Error: From<TransferError>,
    {
        self.flush();
        let threads: Vec<_> = self
            .threads
            .into_iter()
            .map(|writer| writer.thread)
            .collect();
        let outcomes: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        let outcomes = outcomes.into_iter().map(|outcome| {
            outcome.unwrap_or_else(|_| {
                Err(TransferError::Internal("a writing thread panicked".to_owned()).into())
            })
        });
        outcomes.collect()
    }
}

/// One thread. After a failure it goes on taking jobs, so that the reader does not wait for it.
fn work<F: IncomingFile>(
    jobs: &Receiver<Vec<Job<F>>>,
    shared: &Shared,
) -> Result<F::Hand, F::Error> {
    let mut hand = F::Hand::default();
    let mut started = HashMap::new();
    let mut failure = None;
    for job in jobs.iter().flatten() {
        let bytes = job.content.iter().map(Bytes::len).sum();
        if failure.is_none()
            && let Err(error) = perform(job, &mut started, &mut hand)
        {
            shared.failed.store(true, Ordering::Relaxed);
            started.clear();
            failure = Some(error);
        }
        shared.budget.give_back(bytes);
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(hand),
    }
}

fn perform<F: IncomingFile>(
    job: Job<F>,
    started: &mut HashMap<usize, F>,
    hand: &mut F::Hand,
) -> Result<(), F::Error> {
    let Some(mut file) = job.file.or_else(|| started.remove(&job.at)) else {
        return Ok(());
    };
    for data in &job.content {
        file.write(hand, data)?;
    }
    match job.part {
        Part::More => {
            started.insert(job.at, file);
            Ok(())
        }
        Part::Last => file.complete(hand),
    }
}
