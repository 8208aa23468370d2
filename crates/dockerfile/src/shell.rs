//! Expansion of variables in the words of instructions, in the manner of a POSIX shell.
//!
//! `$name` and `${name}`, the forms with a default (`-`), an alternative (`+`) or an error message (`?`), each with a
//! colon or without, cutting at the ends by pattern (`#`, `##`, `%`, `%%`) and replacing (`/`, `//`); quotes and escapes.

mod expand;
mod glob;
mod split;
mod substitution;
mod variables;

use std::collections::BTreeSet;

pub use variables::{NoVariables, Variables};

/// How words are read. The default is how the words of most instructions are: quotes and escapes are taken away
/// and unset variables are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexer {
    /// The escape character, `\` or `` ` ``.
    pub escape: char,
    /// What happens to quotes.
    pub quotes: Quotes,
    /// What happens to escape characters outside of single quotes.
    pub escapes: Escapes,
    /// What an unset variable expands to.
    pub unset: Unset,
}

/// What happens to quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quotes {
    /// They group words and are taken away.
    Remove,
    /// They group words and stay.
    Keep,
    /// They are characters like any other: inside heredocs.
    Literal,
}

/// What happens to escape characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Escapes {
    /// They escape and are taken away.
    Remove,
    /// They escape and stay.
    Keep,
}

/// What an unset variable expands to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unset {
    /// Nothing.
    Empty,
    /// Itself: the reference stays in the text.
    Keep,
}

/// An expanded word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The result.
    pub text: String,
    /// The variables that were looked up and found.
    pub matched: BTreeSet<String>,
    /// The variables that were looked up and not found.
    pub unmatched: BTreeSet<String>,
}

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {}: {kind}", crate::error::quoted(word))]
pub struct ExpandError {
    /// The whole word.
    pub word: String,
    /// What is wrong with it.
    pub kind: ExpandErrorKind,
}

/// What is wrong with a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandErrorKind {
    /// A single quote does not end.
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    /// A double quote does not end.
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    /// `${` does not end.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${name/pattern` does not go on.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${` is not followed by a name.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// The character after the name means nothing.
    #[error("unsupported modifier ({modifier}) in substitution")]
    UnsupportedModifier {
        /// The characters.
        modifier: String,
    },
    /// `${name?message}` and the variable is unset, or empty.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The author's message, or what is missing.
        message: String,
    },
    /// A pattern escapes what needs no escape.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'")]
    InvalidEscape {
        /// The pattern.
        pattern: String,
        /// The escaped character.
        escaped: char,
    },
    /// A pattern is too large to be compiled.
    #[error("invalid pattern ({pattern}) in substitution: {reason}")]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// `${a:-${b:-${c...` goes too deep.
    #[error("syntax error: substitutions nested more than {limit} deep")]
    TooDeep {
        /// The deepest allowed nesting.
        limit: usize,
    },
}

impl Lexer {
    /// The lexer of instruction words with that escape character.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            quotes: Quotes::Remove,
            escapes: Escapes::Remove,
            unset: Unset::Empty,
        }
    }

    /// The lexer of heredoc bodies, in which quotes are text.
    pub fn for_heredocs() -> Self {
        Self {
            quotes: Quotes::Literal,
            ..Self::new('\\')
        }
    }

    /// Expands the text as one word: blanks stay where they are.
    ///
    /// # Errors
    /// What is wrong with the text, or the message of a `${name?message}`.
    pub fn expand(
        &self,
        text: &str,
        variables: &(impl Variables + ?Sized),
    ) -> Result<Expansion, ExpandError> {
        expand::expand(self, text, &|name| variables.get(name)).map(|(expansion, _)| expansion)
    }

    /// Expands the text, then splits it at blanks that are not quoted or escaped.
    ///
    /// # Errors
    /// As for [`Lexer::expand`].
    pub fn words(
        &self,
        text: &str,
        variables: &(impl Variables + ?Sized),
    ) -> Result<Vec<String>, ExpandError> {
        expand::expand(self, text, &|name| variables.get(name)).map(|(_, words)| words)
    }
}
