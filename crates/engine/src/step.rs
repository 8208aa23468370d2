//! Steps of a build that are not ops, such as exports, shown like any other.

use kiln_llb::digest_of;
use kiln_session::SessionId;
use kiln_session::progress::{ProgressSink, Timestamp, Update, Vertex};

use crate::error::BuildError;
use crate::jobs::Reporter;

/// A step under way.
pub(crate) struct Step {
    vertex: Vertex,
    progress: ProgressSink,
    /// Reports what happens inside of it.
    pub(crate) reporter: Reporter,
}

impl Step {
    pub(crate) fn start(progress: &ProgressSink, name: impl Into<String>) -> Self {
        let digest = digest_of(SessionId::random().as_str());
        let vertex = Vertex {
            digest: digest.to_string(),
            name: name.into(),
            started: Some(Timestamp::now()),
            ..Vertex::default()
        };
        send(progress, &vertex);
        let reporter = Reporter::single(digest, progress.clone());
        Self {
            vertex,
            progress: progress.clone(),
            reporter,
        }
    }

    /// Ends the step with the outcome, which is handed on.
    pub(crate) fn finish<T>(self, outcome: Result<T, BuildError>) -> Result<T, BuildError> {
        let error = outcome
            .as_ref()
            .err()
            .map_or(String::new(), ToString::to_string);
        self.end(error);
        outcome
    }

    /// Ends the step: well, if `error` is empty.
    pub(crate) fn end(self, error: String) {
        let mut vertex = self.vertex;
        vertex.completed = Some(Timestamp::now());
        vertex.error = error;
        send(&self.progress, &vertex);
    }
}

fn send(progress: &ProgressSink, vertex: &Vertex) {
    progress.update(Update {
        vertexes: vec![vertex.clone()],
        ..Update::default()
    });
}
