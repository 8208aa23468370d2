//! Gives errors of the Dockerfile their place in the file.

use kiln_dockerfile::{Location as Lines, LowerError, Source, SyntaxError};
use kiln_session::progress::{Position, Range, SourceFile};

use crate::error::{BuildError, Kind, Location};

pub(super) fn syntax_error(error: &SyntaxError, filename: &str, text: &[u8]) -> BuildError {
    let file = file(filename, text);
    located(error.to_string(), file, error.location.as_slice())
}

pub(super) fn lower_error(error: &LowerError, source: &Source) -> BuildError {
    located(
        crate::error::chain(error),
        source_file(source),
        &error.locations,
    )
}

fn located(message: String, file: SourceFile, lines: &[Lines]) -> BuildError {
    let mut error = BuildError::new(Kind::Input, message);
    if !lines.is_empty() {
        error.locations = vec![Location {
            file,
            ranges: lines.iter().flat_map(|it| ranges(*it)).collect(),
        }];
    }
    error
}

/// The Dockerfile as the build read it.
pub(super) fn source_file(source: &Source) -> SourceFile {
    file(&source.map.filename, &source.map.data)
}

fn file(filename: &str, text: &[u8]) -> SourceFile {
    SourceFile {
        filename: filename.to_owned(),
        data: text.to_vec(),
        language: "Dockerfile".into(),
    }
}

/// The lines of an instruction, each as a range of its own.
pub(super) fn ranges(lines: Lines) -> impl Iterator<Item = Range> {
    let position = |position: kiln_dockerfile::Position| Position {
        line: i32::try_from(position.line).unwrap_or(i32::MAX),
        character: i32::try_from(position.character).unwrap_or(i32::MAX),
    };
    lines.ranges().map(move |range| Range {
        start: position(range.start),
        end: position(range.end),
    })
}
