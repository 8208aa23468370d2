//! The lines around an error, for printing below its message.

use std::fmt;

use crate::position::{Line, Location};

/// A few lines of a source file, some of them marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The file's name.
    pub filename: String,
    /// The first marked line.
    pub line: Line,
    /// The lines, in order.
    pub lines: Vec<ExcerptLine>,
}

/// A line of an [`Excerpt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcerptLine {
    /// Its number, counted from one.
    pub number: Line,
    /// Whether the error is about it.
    pub marked: bool,
    /// Its text without the line break.
    pub text: String,
}

/// How many lines of context a single marked line gets, before and after together, and how many several get.
const CONTEXT_OF_ONE: usize = 4;
const CONTEXT_OF_SEVERAL: usize = 2;

impl Excerpt {
    /// Cuts out `locations` with some lines around them. `None` without locations, or if they are not in `text`.
    pub fn new(filename: &str, text: &[u8], locations: &[Location]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let lines: Vec<&str> = text.split('\n').collect();
        let line = locations.iter().map(|location| location.first).min()?;
        let last = locations.iter().map(|location| location.last).max()?;
        let first = usize::try_from(line)
            .ok()
            .filter(|&first| (1..=lines.len()).contains(&first))?;
        let last = usize::try_from(last).ok()?.min(lines.len());

        let (start, end) = widen(first, last, lines.len());
        let lines = (start..=end)
            .zip(&lines[start - 1..end])
            .filter_map(|(number, text)| {
                let number = Line::try_from(number).ok()?;
                let marked = locations
                    .iter()
                    .any(|location| location.lines().contains(&number));
                Some(ExcerptLine {
                    number,
                    marked,
                    text: text.trim_end_matches('\r').to_owned(),
                })
            })
            .collect();
        Some(Self {
            filename: filename.to_owned(),
            line,
            lines,
        })
    }
}

/// Adds lines of context on both sides in turns, as far as there are any. A round counts even if it finds none.
fn widen(mut start: usize, mut end: usize, total: usize) -> (usize, usize) {
    let wanted = if start == end {
        CONTEXT_OF_ONE
    } else {
        CONTEXT_OF_SEVERAL
    };
    let mut added = 0;
    while added < wanted {
        if start > 1 {
            start -= 1;
            added += 1;
        }
        if end < total {
            end += 1;
            added += 1;
        }
        added += 1;
    }
    (start, end)
}

/// The block that BuildKit's clients print: a heading, a rule, numbered lines with `>>>` marks, a rule.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RULE: &str = "--------------------";
        writeln!(f, "{}:{}\n{RULE}", self.filename, self.line)?;
        for line in &self.lines {
            let mark = if line.marked { ">>>" } else { "   " };
            writeln!(f, " {:3} | {mark} {}", line.number, line.text)?;
        }
        writeln!(f, "{RULE}")
    }
}
