//! Where something stands in a Dockerfile.
//!
//! The grammar is made of lines, so everything is located by whole lines. [`Range`] exists because the
//! wire format of source maps speaks of ranges of characters.

use std::ops::RangeInclusive;

/// A line number counted from one.
pub type Line = u32;

/// The lines that one instruction, warning or error covers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// First line, counted from one.
    pub first: Line,
    /// Last line; equal to `first` for an instruction on one line.
    pub last: Line,
}

/// A point in the text. `character` is always zero: nothing in a Dockerfile is located more precisely than its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// Line, counted from one.
    pub line: Line,
    /// Character within the line, counted from zero.
    pub character: u32,
}

/// A piece of text between two positions, as source maps on the wire have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Range {
    /// Where the piece starts.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

impl Location {
    /// The lines from `first` to `last`.
    pub fn new(first: Line, last: Line) -> Self {
        Self {
            first,
            last: last.max(first),
        }
    }

    /// One line.
    pub fn line(line: Line) -> Self {
        Self::new(line, line)
    }

    /// The lines one by one.
    pub fn lines(self) -> RangeInclusive<Line> {
        self.first..=self.last
    }

    /// One range per line: the form in which source maps of existing clients carry an instruction.
    pub fn ranges(self) -> impl Iterator<Item = Range> {
        self.lines().map(|line| {
            let position = Position { line, character: 0 };
            Range {
                start: position,
                end: position,
            }
        })
    }
}
