//! Ignore files: which part of a context is not sent.

use super::error::LowerErrorKind;
use crate::options::IGNORE_FILE;
use kiln_store::pattern::{PatternMatcher, read_ignore_file};
use std::fmt::Display;

/// The patterns of an ignore file; without a file there are none.
pub(crate) fn read(content: Option<&[u8]>) -> Result<Vec<String>, LowerErrorKind> {
    content
        .map(read_ignore_file)
        .transpose()
        .map(Option::unwrap_or_default)
        .map_err(malformed)
}

/// What decides whether a path is ignored; without patterns nothing is.
pub(crate) fn matcher(patterns: &[String]) -> Result<Option<PatternMatcher>, LowerErrorKind> {
    let matcher = PatternMatcher::new(patterns).map_err(malformed)?;
    Ok((!matcher.is_empty()).then_some(matcher))
}

fn malformed(reason: impl Display) -> LowerErrorKind {
    LowerErrorKind::IgnoreFile {
        name: IGNORE_FILE.into(),
        reason: reason.to_string(),
    }
}
