//! Heredocs: `<<WORD` in an instruction, its body on the lines below up to a line `WORD`.

use crate::shell::{Escapes, ExpandError, Lexer, NoVariables, Quotes, Unset};

/// The `<<WORD` of a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeredocWord {
    /// The word without its quotes; a line of just this ends the body.
    pub name: String,
    /// Whether variables in the body are expanded: not if any part of the word is quoted.
    pub expand: bool,
    /// `<<-`: leading tabs are taken off the body and off the line that ends it.
    pub chomp: bool,
    /// The file descriptor before `<<`, zero if there is none.
    pub descriptor: u32,
}

/// A heredoc with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heredoc {
    pub(crate) word: HeredocWord,
    /// The body as written, each line with its end.
    pub(crate) content: String,
}

/// Reads a word as the start of a heredoc: `[descriptor]<<[-]WORD`. `None` if it is not one.
///
/// # Errors
/// If the quotes of the word do not fit together.
pub fn parse_word(word: &str) -> Result<Option<HeredocWord>, ExpandError> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
    let (rest, chomp) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\x0c', '\r']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }

    let plain = Lexer { unset: Unset::Keep, ..Lexer::new('\\') };
    let [name] = plain.words(rest, &NoVariables)?.try_into().unwrap_or_default();
    todo!()
}

/// Takes the leading tabs off every line.
pub fn chomp(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
