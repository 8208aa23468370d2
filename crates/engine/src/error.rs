//! Why a build failed: one error type for everything the engine does.

use std::sync::Arc;

use kiln_session::progress::{Range, SourceFile};

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request, the Dockerfile or the files given are wrong.
    Input,
    /// The machine, the network or a registry is in the way.
    Environment,
    /// Kiln itself is wrong.
    Internal,
    /// The build was stopped.
    Cancelled,
}

/// A place in a source file that an error is about.
#[derive(Debug, Clone)]
pub struct Location {
    /// The file as the build read it.
    pub file: SourceFile,
    /// Areas of it.
    pub ranges: Vec<Range>,
}

/// A failed build. Its text is the whole chain of causes, outermost first,
/// in the form that BuildKit's tools match on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// Who has to act.
    pub kind: Kind,
    /// The chain of causes as one line.
    pub message: String,
    /// Name of the step that failed.
    pub vertex: Option<String>,
    /// Places in source files, innermost last.
    pub locations: Vec<Location>,
    /// What to try.
    pub hints: Vec<String>,
    /// The error underneath.
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl BuildError {
    /// An error with only a message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            vertex: None,
            locations: Vec::new(),
            hints: Vec::new(),
            source: None,
        }
    }

    /// Wraps an error from a crate below; its chain of causes becomes the
    /// message.
    pub fn wrap<E>(kind: Kind, error: E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let message = chain(&error);
        Self {
            source: Some(Arc::new(error)),
            ..Self::new(kind, message)
        }
    }

    /// The same error, said to have happened while doing `what`.
    pub fn context(mut self, what: impl std::fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same error with one more thing to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The text of an error and its causes in one line. Causes whose text the
/// outer error shows already are not repeated.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
