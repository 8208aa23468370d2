//! From text to [`Dockerfile`].
//!
//! Lines are read one by one into logical lines (continuations joined, comments collected, heredoc bodies attached),
//! each of which is split by the rules of its keyword and then becomes a typed instruction.

mod logical;
mod split;
mod words;

use crate::directive::Directive;
use crate::error::SyntaxError;
use crate::instruction::{Arg, Command, Located};
use crate::position::Location;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The parser directives at the top, in order.
    pub directives: Vec<Directive>,
    /// The escape character: `\`, or `` ` `` if a directive says so. Word expansion needs it too.
    pub escape: char,
    /// `ARG` instructions before the first stage.
    pub meta_args: Vec<Located<Arg>>,
    /// The stages, never none.
    pub stages: Vec<Stage>,
    /// Last lines of instructions that go on over an empty line; input of the lint rule `NoEmptyContinuation`.
    pub empty_continuations: Vec<Location>,
}

/// A build stage: `FROM` and the instructions up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The stage's name in lower case, if it has one.
    pub name: Option<String>,
    /// Image, earlier stage, named context or `scratch`, unexpanded.
    pub base: String,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// The instructions, in order.
    pub commands: Vec<Located<Command>>,
    /// The text of a comment `# <name> <description>` directly above.
    pub description: Option<String>,
    /// `FROM` in the author's own casing.
    pub keyword: String,
    /// `AS` and the stage's name in the author's own casing.
    pub alias: Option<Alias>,
    /// The text of the `FROM` instruction on one line.
    pub source: String,
    /// The lines of the `FROM` instruction.
    pub location: Location,
    /// The comments directly above.
    pub comments: Vec<String>,
}

/// The `AS name` of a `FROM` instruction as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `AS` in the author's own casing.
    pub keyword: String,
    /// The name in the author's own casing.
    pub name: String,
}

/// Reads a Dockerfile. Bytes that are not UTF-8 read as U+FFFD.
///
/// # Errors
/// The first thing that is wrong, with its lines.
pub fn parse(text: &[u8]) -> Result<Dockerfile, SyntaxError> {
    logical::read(text)
}

/// Reads one instruction: the trigger that an `ONBUILD` of a base image recorded. It has no lines of its own, so it
/// gets those of the `FROM` that pulled it in.
///
/// # Errors
/// What is wrong with it, located at `location`.
pub fn parse_trigger(text: &str, location: Location) -> Result<Located<Command>, SyntaxError> {
    logical::read_trigger(text, location)
}
