//! What can be wrong with a Dockerfile's syntax, and how an error shows the lines it is about.

mod excerpt;
mod quote;

use crate::instruction::InstructionError;
use crate::position::{Line, Location};
use crate::shell::ExpandError;

pub use excerpt::{Excerpt, ExcerptLine};
pub use quote::quoted;

/// A Dockerfile that cannot be read, with the place of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SyntaxError {
    /// What is wrong.
    pub kind: SyntaxErrorKind,
    /// The lines it is about; `None` if it is about the file as a whole.
    pub location: Option<Location>,
}

/// What is wrong with a Dockerfile. The texts are BuildKit's, because tools match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxErrorKind {
    /// There is not a single byte.
    #[error("the Dockerfile cannot be empty")]
    Empty,
    /// There are only comments and empty lines.
    #[error("file with no instructions")]
    NoInstructions,
    /// There is no `FROM`.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// An instruction other than `ARG` stands before the first `FROM`.
    #[error("no build stage in current context")]
    NoCurrentStage,
    /// A line is longer than any sane one.
    #[error("dockerfile line greater than max allowed size of {limit}")]
    LineTooLong {
        /// The longest allowed line in bytes.
        limit: usize,
    },
    /// A directive stands twice.
    #[error("only one {name} parser directive can be used")]
    RepeatedDirective {
        /// The directive's name.
        name: String,
    },
    /// The escape directive has an unknown value.
    #[error("invalid escape token '{token}' does not match ` or \\")]
    InvalidEscape {
        /// The value as written.
        token: String,
    },
    /// The file ends before a heredoc does.
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    /// A heredoc's word cannot be read.
    #[error(transparent)]
    HeredocWord(ExpandError),
    /// A JSON array has something else than strings.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStringArray,
    /// `ENV name` or `LABEL name` without a value.
    #[error("{keyword} must have two arguments")]
    MissingValue {
        /// `ENV` or `LABEL`.
        keyword: &'static str,
    },
    /// A word among `name=value` words has no `=`.
    #[error(
        "Syntax error - can't find = in {}. Must be of the form: name=value",
        quoted(word)
    )]
    MissingEquals {
        /// The word.
        word: String,
    },
    /// An instruction of the file is malformed.
    #[error("dockerfile parse error on line {line}: {error}")]
    Instruction {
        /// The instruction's first line.
        line: Line,
        /// What is wrong with it.
        error: InstructionError,
    },
    /// A trigger recorded by `ONBUILD` is malformed.
    #[error(transparent)]
    Trigger(InstructionError),
    /// A trigger recorded by `ONBUILD` is more than one instruction.
    #[error("onbuild trigger should be a single expression")]
    ManyTriggers,
}

impl SyntaxError {
    /// The lines of `text`, the file of that name, that the error is about.
    pub fn excerpt(&self, filename: &str, text: &[u8]) -> Option<Excerpt> {
        Excerpt::new(filename, text, &[self.location?])
    }
}
