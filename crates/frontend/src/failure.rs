//! What is wrong with the input of a build, and where.

use bytes::Bytes;
use kiln_dockerfile::{Location, LowerError, Source, SyntaxError};
use kiln_llb::build::SourceMap;
use kiln_llb::pb;

use crate::door::DoorError;

/// A request or a Dockerfile that is wrong.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The chain of causes as one line.
    pub message: String,
    /// The lines that it is about.
    pub place: Option<Place>,
    /// What to try.
    pub hint: Option<&'static str>,
    /// What tools want to know if something is not there.
    pub missing: Option<Missing>,
}

/// What this frontend does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A capability.
    Cap(String),
    /// A request.
    Subrequest(String),
}

/// Lines of a source file.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file as the build read it.
    pub file: pb::SourceInfo,
    /// The lines, each as a range of its own.
    pub ranges: Vec<pb::Range>,
}

impl Failure {
    /// A failure with only a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            hint: None,
            missing: None,
        }
    }

    /// A failure with the chain of causes of `error`.
    pub(crate) fn wrap(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(chain(error))
    }

    pub(crate) fn missing(self, missing: Missing) -> Self {
        Self {
            missing: Some(missing),
            ..self
        }
    }

    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    pub(crate) fn syntax(error: &SyntaxError, file: pb::SourceInfo) -> Self {
        Self::new(error.to_string()).at(file, error.location.as_slice())
    }

    pub(crate) fn lower(error: &LowerError, source: &Source) -> Self {
        Self::wrap(error).at(source_file(&source.map), &error.locations)
    }

    fn at(self, file: pb::SourceInfo, lines: &[Location]) -> Self {
        let place = (!lines.is_empty()).then(|| Place::new(file, lines));
        Self { place, ..self }
    }
}

impl Place {
    pub(crate) fn new(file: pb::SourceInfo, lines: &[Location]) -> Self {
        let ranges = lines.iter().flat_map(|it| it.ranges());
        Self {
            file,
            ranges: ranges.map(range).collect(),
        }
    }
}

fn range(range: kiln_dockerfile::Range) -> pb::Range {
    let position = |position: kiln_dockerfile::Position| pb::Position {
        line: i32::try_from(position.line).unwrap_or(i32::MAX),
        character: i32::try_from(position.character).unwrap_or(i32::MAX),
    };
    pb::Range {
        start: Some(position(range.start)),
        end: Some(position(range.end)),
    }
}

/// The Dockerfile as the build read it.
pub(crate) fn source_file(map: &SourceMap) -> pb::SourceInfo {
    file(&map.filename, map.data.clone())
}

pub(crate) fn file(filename: &str, data: Bytes) -> pb::SourceInfo {
    pb::SourceInfo {
        filename: filename.to_owned(),
        data,
        language: "Dockerfile".into(),
        definition: None,
    }
}

/// The same error, said to have happened while doing `what`.
pub(crate) fn within<E: DoorError>(what: &str, error: E) -> E {
    let message = format!("{what}: {error}");
    error.told_as(Failure::new(message))
}

/// The text of an error and its causes in one line. Causes whose text the
/// outer error shows already are not repeated.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !says(&text, &inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Whether a text says what a cause says; messages of the field tell the system's errors in lower case and without
/// their numbers.
fn says(text: &str, cause: &str) -> bool {
    let words = cause.split(" (os error ").next().unwrap_or(cause);
    text.contains(cause) || text.to_lowercase().contains(&words.to_lowercase())
}
