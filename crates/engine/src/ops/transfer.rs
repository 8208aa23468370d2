//! Shows how far transfers have come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_llb::redact;
use kiln_source::{DownloadProgress, LocalProgress, PullProgress};

use crate::jobs::{Activity, Reporter};

/// Sources report often; clients need not hear of each chunk.
const PERIOD: Duration = Duration::from_millis(100);

/// An activity with the time of its last report.
struct Paced {
    activity: Activity,
    reported: Instant,
}

impl Paced {
    fn new(activity: Activity) -> Self {
        Self {
            activity,
            reported: Instant::now(),
        }
    }

    fn progress(&mut self, current: u64, total: u64) {
        if self.reported.elapsed() >= PERIOD {
            self.reported = Instant::now();
            self.activity.progress(current, total);
        }
    }
}

/// One activity for each layer that is pulled.
pub(super) fn pull_progress(reporter: Reporter) -> PullProgress {
    let layers: Mutex<HashMap<String, Paced>> = Mutex::default();
    Arc::new(move |layer, bytes| {
        let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
        let id = layer.digest().to_string();
        let paced = layers
            .entry(id.clone())
            .or_insert_with(|| Paced::new(reporter.activity(id.clone())));
        paced.progress(bytes, layer.size());
        if bytes >= layer.size()
            && let Some(paced) = layers.remove(&id)
        {
            paced.activity.done(bytes, layer.size());
        }
    })
}

/// The transfer of one directory.
pub(super) struct LocalTransfer {
    activity: Activity,
    bytes: Arc<Mutex<(u64, Paced)>>,
}

impl LocalTransfer {
    pub(super) fn done(self) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).0;
        self.activity.done(bytes, 0);
    }
}

pub(super) fn local_progress(reporter: &Reporter, name: &str) -> (LocalProgress, LocalTransfer) {
    let activity = reporter.activity(format!("transferring {name}:"));
    let bytes = Arc::new(Mutex::new((0, Paced::new(activity.clone()))));
    let shared = bytes.clone();
    let progress: LocalProgress = Arc::new(move |transfer| {
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.max(transfer.bytes);
        let bytes = state.0;
        state.1.progress(bytes, 0);
    });
    (progress, LocalTransfer { activity, bytes })
}

/// A file that comes from a web server. Nothing is shown if nothing comes.
pub(crate) struct Download {
    reporter: Reporter,
    id: String,
    course: Arc<Mutex<Option<Course>>>,
}

/// How far a download has come.
struct Course {
    paced: Paced,
    current: u64,
    total: u64,
}

impl Download {
    pub(crate) fn start(reporter: Reporter, url: &str) -> Self {
        Self {
            reporter,
            id: format!("downloading {}", redact::credentials(url)),
            course: Arc::default(),
        }
    }

    pub(crate) fn progress(&self) -> DownloadProgress {
        let (reporter, id, course) = (self.reporter.clone(), self.id.clone(), self.course.clone());
        Arc::new(move |current, total| {
            let mut course = course.lock().unwrap_or_else(PoisonError::into_inner);
            let course = course.get_or_insert_with(|| Course {
                paced: Paced::new(reporter.activity(&id)),
                current,
                total,
            });
            (course.current, course.total) = (current, total);
            course.paced.progress(current, total);
        })
    }

    pub(crate) fn done(self) {
        let course = self.course.lock();
        let course = course.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Course {
            paced,
            current,
            total,
        }) = course
        {
            paced.activity.done(current, total);
        }
    }
}
