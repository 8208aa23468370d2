//! Places in source files, with the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_session::progress::{Position, Range, SourceFile};
use prost_types::Any;
use serde::{Deserialize, Serialize};

use super::detail::{any, is, read};
use crate::error::Location;

const SOURCE: &str = "errdefs.Source+json";

/// Details travel in a header, so a file that is larger goes without text.
const MAX_TEXT: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Source {
    #[serde(default)]
    info: Info,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Span>,
}

#[derive(Serialize, Deserialize, Default)]
struct Info {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filename: String,
    /// In base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    language: String,
}

#[derive(Serialize, Deserialize)]
struct Span {
    #[serde(default)]
    start: Place,
    #[serde(default)]
    end: Place,
}

#[derive(Serialize, Deserialize, Default, Clone, Copy)]
struct Place {
    #[serde(default, skip_serializing_if = "is_zero")]
    line: i32,
    #[serde(default, skip_serializing_if = "is_zero")]
    character: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

pub(super) fn encode(location: &Location) -> Any {
    let place = |position: Position| Place {
        line: position.line,
        character: position.character,
    };
    let file = &location.file;
    let text = Some(&file.data).filter(|text| text.len() <= MAX_TEXT);
    let source = Source {
        info: Info {
            filename: file.filename.clone(),
            data: text.map_or(String::new(), |text| STANDARD.encode(text)),
            language: file.language.clone(),
        },
        ranges: location
            .ranges
            .iter()
            .map(|range| Span {
                start: place(range.start),
                end: place(range.end),
            })
            .collect(),
    };
    any(SOURCE, &source).unwrap_or_default()
}

pub(super) fn decode(any: &Any) -> Option<Location> {
    let source: Source = is(any, SOURCE).then(|| read(any)).flatten()?;
    let position = |place: Place| Position {
        line: place.line,
        character: place.character,
    };
    Some(Location {
        file: SourceFile {
            filename: source.info.filename,
            data: STANDARD.decode(&source.info.data).unwrap_or_default(),
            language: source.info.language,
        },
        ranges: source
            .ranges
            .iter()
            .map(|span| Range {
                start: position(span.start),
                end: position(span.end),
            })
            .collect(),
    })
}
