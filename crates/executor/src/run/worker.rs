//! Threads that start steps and wait for them.
//!
//! A step's process dies with the thread that started it, so that nothing outlives the engine; and a thread,
//! not the process, is what may have namespaces, a root directory and (in cgroup v1) cgroups of its own.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::{self, JoinHandle};

use rustix::fs::Mode;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tokio::sync::oneshot;

use super::Settings;
use super::step::{self, Step, kernel};
use crate::cgroup::Slot;
use crate::kernel::calls;
use crate::{ExecError, ExitStatus};

/// A step and where its result goes.
pub(super) struct Job {
    pub(super) step: Step,
    pub(super) done: oneshot::Sender<Result<ExitStatus, ExecError>>,
}

/// What a worker is told: a step, or to end.
type Order = Option<Job>;

/// Threads that wait for the next step, beyond the one for each processor: more of them save no
/// time and hold files and cgroups.
const SPARE: usize = 4;

/// As many threads as there are steps at the same time, and a few that wait for the next ones.
#[derive(Debug)]
pub(super) struct Workers {
    settings: Arc<Settings>,
    /// How many may wait.
    most_idle: usize,
    idle: Mutex<Vec<mpsc::Sender<Order>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    count: AtomicUsize,
}

impl Workers {
    pub(super) fn new(settings: Arc<Settings>) -> Workers {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Workers {
            settings,
            most_idle: processors + SPARE,
            idle: Mutex::default(),
            threads: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Hands `job` to a thread that has nothing to do, started if there is none.
    pub(super) fn submit(self: &Arc<Workers>, job: Job) -> Result<(), ExecError> {
        let mut job = job;
        loop {
            let idle = lock(&self.idle).pop();
            let Some(worker) = idle else { break };
            match worker.send(Some(job)) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(Some(back))) => job = back,
                Err(mpsc::SendError(None)) => return Err(ExecError::Cancelled),
            }
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (sender, jobs) = mpsc::channel();
        let pool = Arc::downgrade(self);
        let settings = Arc::clone(&self.settings);
        let own = sender.clone();
        let thread = thread::Builder::new()
            .name(format!("step-{number}"))
            .spawn(move || work(&jobs, &own, &pool, &settings, number))
            .map_err(|error| kernel("start a thread", error))?;
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        drop(threads);
        let _ = sender.send(Some(job));
        Ok(())
    }

    /// Notes that a thread has nothing to do; `false` if there are enough that wait.
    fn keep(&self, worker: &mpsc::Sender<Order>) -> bool {
        let mut idle = lock(&self.idle);
        let is_wanted = idle.len() < self.most_idle;
        if is_wanted {
            idle.push(worker.clone());
        }
        is_wanted
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in lock(&self.idle).drain(..) {
            let _ = worker.send(None);
        }
        for thread in lock(&self.threads).drain(..) {
            // A thread may itself be the last to let go of the pool.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn work(
    jobs: &mpsc::Receiver<Order>,
    own: &mpsc::Sender<Order>,
    pool: &Weak<Workers>,
    settings: &Settings,
    number: usize,
) {
    let worker = Worker::settle(settings, number);
    while let Ok(Some(Job { step, done })) = jobs.recv() {
        let (result, home) = match &worker {
            Ok(worker) => worker.run(settings, step),
            Err(error) => {
                let error = io::Error::new(error.kind(), error.to_string());
                (Err(kernel("prepare a thread for steps", error)), Home::Lost)
            }
        };
        let waits = home == Home::Reached && pool.upgrade().is_some_and(|pool| pool.keep(own));
        let _ = done.send(result);
        if !waits {
            return;
        }
    }
}

/// Whether a thread is back where it was before its step. If not it is of no further use: it ends, which
/// takes it out of everything it is still in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Reached,
    Lost,
}

/// What a thread keeps from one step to the next.
struct Worker {
    slot: Option<Slot>,
    root: File,
    namespaces: [(File, LinkNameSpaceType); 5],
}

impl Worker {
    /// Makes the calling thread's root directory and file mode mask its own, and notes the way back.
    fn settle(settings: &Settings, number: usize) -> io::Result<Worker> {
        let namespace = |name: &str| File::open(format!("/proc/thread-self/ns/{name}"));
        let namespaces = [
            (namespace("mnt")?, LinkNameSpaceType::Mount),
            (
                namespace("uts")?,
                LinkNameSpaceType::HostNameAndNISDomainName,
            ),
            (
                namespace("ipc")?,
                LinkNameSpaceType::InterProcessCommunication,
            ),
            (namespace("net")?, LinkNameSpaceType::Network),
            (namespace("pid")?, LinkNameSpaceType::ProcessID),
        ];
        let root = File::open("/")?;
        calls::unshare(UnshareFlags::FS)?;
        rustix::process::umask(Mode::empty());
        let slot = settings.cgroups.slot(number)?;
        if let Some(slot) = &slot {
            slot.enter()?;
        }
        Ok(Worker {
            slot,
            root,
            namespaces,
        })
    }

    /// Runs a step in namespaces of its own and comes back out of them. All that is left of the step then is
    /// what it changed in its mounts' sources.
    fn run(&self, settings: &Settings, step: Step) -> (Result<ExitStatus, ExecError>, Home) {
        match step::enter(settings, &step) {
            Err(error) => (Err(error), self.go_home()),
            Ok(()) => {
                let ended = step::run(settings, step, self.slot.as_ref());
                // The mounts go with the namespace; what the step made only to mount on can go then.
                let home = self.go_home();
                (ended.finish(), home)
            }
        }
    }

    /// Leaves the step's namespaces, the one with its mounts first.
    fn go_home(&self) -> Home {
        let go = || -> rustix::io::Result<()> {
            for (namespace, kind) in &self.namespaces {
                move_into_link_name_space(namespace.as_fd(), Some(*kind))?;
            }
            rustix::process::fchdir(&self.root)?;
            rustix::process::chroot(".")
        };
        if go().is_ok() {
            Home::Reached
        } else {
            Home::Lost
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
