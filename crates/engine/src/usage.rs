//! What steps, and the machine while a build ran, used, for those who want to know it of a result.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_executor::usage::{CpuTimes, Series, StepSample, SystemSample};
use serde::Serialize;
use tokio::task::JoinHandle;

/// At most so many samples of the machine before the last one.
const MOST: usize = 20;

/// What a step used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StepUsage {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<StepSample>,
    /// All processors meanwhile, whoever they worked for.
    #[serde(rename = "sysCPUStat")]
    pub(crate) system: CpuTimes,
}

/// Takes samples of the machine until it is dropped.
#[derive(Debug)]
pub(crate) struct SystemWatch {
    series: Arc<Mutex<Series<SystemSample>>>,
    task: JoinHandle<()>,
    taken: OnceLock<Vec<SystemSample>>,
}

impl SystemWatch {
    /// Begins.
    pub(crate) fn start() -> Self {
        let series = Arc::new(Mutex::new(Series::new(MOST)));
        let watched = series.clone();
        let task = tokio::spawn(async move {
            loop {
                let interval = lock(&watched).interval();
                tokio::time::sleep(interval).await;
                let sample = SystemSample::now();
                lock(&watched).push(sample);
            }
        });
        Self {
            series,
            task,
            taken: OnceLock::new(),
        }
    }

    /// All samples, with one of the moment at which this is asked first.
    pub(crate) fn samples(&self) -> Vec<SystemSample> {
        let take = || {
            let mut samples = lock(&self.series).clone().into_samples();
            samples.push(SystemSample::now());
            samples
        };
        self.taken.get_or_init(take).clone()
    }
}

impl Drop for SystemWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(series: &Mutex<Series<SystemSample>>) -> MutexGuard<'_, Series<SystemSample>> {
    series.lock().unwrap_or_else(PoisonError::into_inner)
}
