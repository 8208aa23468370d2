//! The thread that cleans up behind dropped handles, so that dropping never blocks.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::gc::sweep;
use crate::lease::locks::Row;
use crate::refs::hold::Hold;
use crate::refs::record::nanoseconds;
use crate::snapshot::remove_tree;
use crate::store::{Core, StoreError};

/// Uses are written down together, once nothing happened for this long.
const QUIET: Duration = Duration::from_millis(200);

/// Work for the thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// A tree that was not committed.
    Discard(Hold),
    /// What is in the trash.
    Delete(PathBuf),
    /// A mount that closing unmounts.
    Unmount(OwnedFd),
    /// A ref was used until now.
    Touch(Row, SystemTime),
    /// Whatever killed processes left.
    Sweep,
    /// Tell when everything before this is done.
    Settle(Sender<()>),
}

/// The handle that ends the thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Reaper {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    ending: Arc<AtomicBool>,
}

impl Reaper {
    pub(crate) fn start(core: Arc<Core>) -> Result<Reaper, StoreError> {
        let (jobs, queue) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            core,
            ending: ending.clone(),
            touched: HashMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("kiln-reaper".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|error| StoreError::Interrupted {
                reason: format!("cannot start a thread: {error}"),
            })?;
        Ok(Reaper {
            jobs: Some(jobs),
            thread: Some(thread),
            ending,
        })
    }

    pub(crate) fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread lives as long as this handle.
            let _ = jobs.send(job);
        }
    }

    pub(crate) fn settle(&self) {
        let (done, wait) = channel();
        self.send(Job::Settle(done));
        let _ = wait.recv();
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // What is condemned may be deleted by the next process: exiting must not take long.
        self.ending.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    core: Arc<Core>,
    ending: Arc<AtomicBool>,
    /// Uses not written down yet: last time, number.
    touched: HashMap<Row, (SystemTime, u64)>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let job = match self.touched.is_empty() {
                true => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => queue.recv_timeout(QUIET),
            };
            let result = match job {
                Ok(Job::Discard(hold)) => self.discard(&hold),
                Ok(Job::Delete(grave)) => self.delete(grave),
                Ok(Job::Unmount(tree)) => {
                    drop(tree);
                    Ok(())
                }
                Ok(Job::Touch(row, time)) => {
                    let uses = self.touched.entry(row).or_insert((time, 0));
                    *uses = (time, uses.1 + 1);
                    Ok(())
                }
                Ok(Job::Sweep) => sweep::leftovers(&self.core, &self.ending),
                Ok(Job::Settle(done)) => {
                    let result = self.write_touches();
                    let _ = done.send(());
                    result
                }
                Err(RecvTimeoutError::Timeout) => self.write_touches(),
                Err(RecvTimeoutError::Disconnected) => {
                    log(self.write_touches());
                    return;
                }
            };
            log(result);
        }
    }

    fn discard(&self, hold: &Hold) -> Result<(), StoreError> {
        let row = hold.row();
        self.core.database.transact(|transaction| {
            transaction
                .prepare_cached("DELETE FROM refs WHERE row = ?1")?
                .execute([row])
        })?;
        if let Some(grave) = self.core.snapshots.condemn(row)? {
            self.delete(grave)?;
        }
        Ok(())
    }

    fn delete(&self, grave: PathBuf) -> Result<(), StoreError> {
        if self.ending.load(Ordering::Relaxed) {
            return Ok(());
        }
        Ok(remove_tree(&grave)?)
    }

    fn write_touches(&mut self) -> Result<(), StoreError> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.touched);
        self.core.database.transact(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE refs SET last_used = max(ifnull(last_used, 0), ?2), usage_count = usage_count + ?3
                 WHERE row = ?1",
            )?;
            for (row, (time, uses)) in touched {
                update.execute((row, nanoseconds(time), uses))?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// Nobody waits for the result. What failed is found again by the next sweep.
fn log(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot clean up");
    }
}
