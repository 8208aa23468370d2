//! Samples of a step for as long as it runs.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use super::{Series, StepSample};

/// At most so many before the last one.
const MOST: usize = 10;

/// A thread that takes samples.
pub(crate) struct Watch {
    /// Dropped to stop it.
    stop: Sender<()>,
    thread: JoinHandle<Vec<StepSample>>,
}

impl Watch {
    /// Takes samples of a cgroup v2 from now on.
    pub(crate) fn start(cgroup: OwnedFd) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let watch = move || {
            let mut series = Series::new(MOST);
            while stopped.recv_timeout(series.interval()) == Err(RecvTimeoutError::Timeout) {
                series.push(StepSample::of(cgroup.as_fd()));
            }
            let mut samples = series.into_samples();
            samples.push(StepSample::of(cgroup.as_fd()));
            samples
        };
        let thread = thread::Builder::new().name("usage".into()).spawn(watch)?;
        Ok(Self { stop, thread })
    }

    /// All samples, with one of this moment.
    pub(crate) fn finish(self) -> Vec<StepSample> {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}
