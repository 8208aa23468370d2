//! Why a build failed: one error type for everything the engine does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kiln_frontend::{DoorError, Failure, Missing};
use kiln_registry::RegistryError;
use kiln_session::progress::{Range, SourceFile};
use kiln_source::SourceError;

use crate::ops::Output;

pub use kiln_frontend::chain;

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
    /// What tools want to know beside the text, outermost first.
    pub details: Vec<Detail>,
    /// The error underneath.
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What to do about a registry that is among the causes.
fn registry_hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let source = match error.downcast_ref() {
            Some(SourceError::Registry(registry)) => Some(registry),
            _ => None,
        };
        let boxed = || {
            error
                .downcast_ref::<Box<RegistryError>>()
                .map(|boxed| &**boxed)
        };
        let found = source.or_else(|| error.downcast_ref()).or_else(boxed);
        if let Some(hint) = found.and_then(RegistryError::hint) {
            return Some(hint);
        }
        cause = error.source();
    }
    None
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
            details: Vec::new(),
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
        let hint = registry_hint(&error);
        Self {
            source: Some(Arc::new(error)),
            hints: hint.map(str::to_owned).into_iter().collect(),
            ..Self::new(kind, message)
        }
    }

    /// The same error, said to have happened while doing `what`.
    pub fn context(mut self, what: impl std::fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same error with one more thing that tools want to know.
    pub fn detail(mut self, detail: Detail) -> Self {
        self.details.insert(0, detail);
        self
    }

    /// What the client's source policy said, if it is what stopped the build.
    pub fn denials(&self) -> impl Iterator<Item = &str> {
        let reasons = self.details.iter().filter_map(|detail| match detail {
            Detail::Denial(reasons) => Some(reasons),
            _ => None,
        });
        reasons.flatten().map(String::as_str)
    }

    /// The same error with one more thing to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// What tools want to know of an error beside its text.
#[derive(Debug, Clone)]
pub enum Detail {
    /// Digest of the step that failed.
    Vertex(String),
    /// What the step was, and what it worked on.
    Step(Arc<FailedStep>),
    /// The frontend that failed, and for `gateway.v0` its image.
    Frontend {
        /// Its name.
        name: String,
        /// The image.
        source: String,
    },
    /// A capability that the frontend lacks.
    FrontendCap(String),
    /// A request that the frontend does not know.
    Subrequest(String),
    /// The code that the step's process ended with.
    Exit(u32),
    /// Why the client's source policy denies a source.
    Denial(Vec<String>),
    /// The gRPC code that another program gave the error.
    Code(i32),
    /// What another program said in a form of its own: handed on as it came.
    Foreign {
        /// Names the form.
        type_url: String,
        /// The content.
        value: Bytes,
    },
}

/// A step that failed, for those who want to look into it.
#[derive(Debug, Clone, Default)]
pub struct FailedStep {
    /// The encoded op.
    pub(crate) op: Bytes,
    /// What its client said about it.
    pub(crate) description: BTreeMap<String, String>,
    /// For a file op: which of its actions failed.
    pub(crate) file_action: Option<i64>,
    /// For an exec op: what its mounts showed, in their order. For a file op: its inputs.
    pub(crate) inputs: Vec<Output>,
    /// For an exec op: what its mounts were like when it failed. For a file op: one for each action, empty but for
    /// the tree that the failed one was working on.
    pub(crate) mounts: Vec<Output>,
}

impl DoorError for BuildError {
    fn told_as(self, failure: Failure) -> Self {
        let told = Self::from(failure);
        Self {
            message: told.message,
            locations: told.locations,
            ..self
        }
    }
}

impl From<Failure> for BuildError {
    fn from(failure: Failure) -> Self {
        let place = failure.place.iter();
        let missing = failure.missing.iter().map(|missing| match missing {
            Missing::Cap(name) => Detail::FrontendCap(name.clone()),
            Missing::Subrequest(name) => Detail::Subrequest(name.clone()),
        });
        Self {
            locations: place
                .map(|it| Location::new(&it.file, &it.ranges))
                .collect(),
            hints: failure.hint.iter().map(|&hint| hint.to_owned()).collect(),
            details: missing.collect(),
            ..Self::new(Kind::Input, failure.message)
        }
    }
}
