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
    let Some(rest) = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")
    else {
        return Ok(None);
    };
    let (rest, chomp) = rest
        .strip_prefix('-')
        .map_or((rest, false), |rest| (rest, true));
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\x0c', '\r']);
    if rest.contains('<') {
        return Ok(None);
    }

    // Read with and without its quotes: if that makes a difference, something in it is quoted.
    let plain = Lexer {
        unset: Unset::Keep,
        ..Lexer::new('\\')
    };
    let quoted = Lexer {
        quotes: Quotes::Keep,
        ..plain
    };
    let Ok([name]) = <[String; 1]>::try_from(plain.words(rest, &NoVariables)?) else {
        return Ok(None);
    };
    let with_quotes = quoted.words(rest, &NoVariables)?.concat();
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let expand = quotes(&name) == quotes(&with_quotes);
    Ok(Some(HeredocWord {
        name,
        expand,
        chomp,
    }))
}

/// The heredocs that an instruction's text announces, in order. A text whose quotes do not fit together has none.
pub(crate) fn words_of(text: &str) -> Result<Vec<HeredocWord>, ExpandError> {
    let lexer = Lexer {
        quotes: Quotes::Keep,
        escapes: Escapes::Keep,
        unset: Unset::Keep,
        ..Lexer::new('\\')
    };
    let words = lexer.words(text, &NoVariables).unwrap_or_default();
    words
        .iter()
        .filter_map(|word| parse_word(word).transpose())
        .collect()
}

/// Takes the leading tabs off every line.
pub fn chomp(content: &str) -> String {
    content
        .split_inclusive('\n')
        .map(|line| line.trim_start_matches('\t'))
        .collect()
}
