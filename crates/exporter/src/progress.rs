//! What an export tells of its course.

use std::sync::Arc;

/// One step of an export, for the user to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// A step begins. Its name identifies it within one export.
    Started {
        /// For example `exporting layers`.
        name: String,
    },
    /// A step has come so far.
    Advanced {
        /// The step.
        name: String,
        /// Bytes or files done.
        current: u64,
        /// Of how many, if that is known.
        total: Option<u64>,
    },
    /// A step is over.
    Completed {
        /// The step.
        name: String,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// Something the user should know and that did not fail the export.
    Warning {
        /// The text.
        message: String,
    },
}

/// Receives the events of one export. Called from several threads; must not block.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(ProgressEvent) + Send + Sync>);

impl Progress {
    /// Events go to `receive`.
    pub fn new(receive: impl Fn(ProgressEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Begins a step, which ends when the guard is told so or dropped.
    pub(crate) fn start(&self, name: impl Into<String>) -> Step {
        let name = name.into();
        (self.0)(ProgressEvent::Started { name: name.clone() });
        Step {
            progress: self.clone(),
            name,
            done: false,
        }
    }

    /// Tells of something that did not fail the export.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        (self.0)(ProgressEvent::Warning {
            message: message.into(),
        });
    }
}

/// A step under way.
pub(crate) struct Step {
    progress: Progress,
    name: String,
    done: bool,
}

impl Step {
    /// Reports how far the step has come.
    pub(crate) fn advance(&self, current: u64, total: Option<u64>) {
        (self.progress.0)(ProgressEvent::Advanced {
            name: self.name.clone(),
            current,
            total,
        });
    }

    /// What reports how far the step has come, for others.
    pub(crate) fn reporter(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let (progress, name) = (self.progress.clone(), self.name.clone());
        move |current| {
            (progress.0)(ProgressEvent::Advanced {
                name: name.clone(),
                current,
                total: None,
            });
        }
    }

    /// What reports how far of how much the step has come, for others.
    pub(crate) fn reporter_of_total(&self) -> impl Fn(u64, u64) + Send + Sync + 'static {
        let (progress, name) = (self.progress.clone(), self.name.clone());
        move |current, total| {
            (progress.0)(ProgressEvent::Advanced {
                name: name.clone(),
                current,
                total: Some(total),
            });
        }
    }

    /// Ends the step with the outcome, which is handed back.
    pub(crate) fn end<T, E: std::fmt::Display>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        self.complete(outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    fn complete(&mut self, error: Option<String>) {
        if !std::mem::replace(&mut self.done, true) {
            (self.progress.0)(ProgressEvent::Completed {
                name: self.name.clone(),
                error,
            });
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.complete(Some("canceled".into()));
    }
}
