//! Splitting an instruction's text into words, flags, and names with values. Quotes and escapes stay in words, since
//! expansion needs them; flags lose them here.

use std::iter::Peekable;
use std::str::Chars;

use crate::error::SyntaxErrorKind;
use crate::instruction::{Delimiter, KeyValue};

/// Names and values, in order.
pub(crate) type Pairs = Vec<KeyValue>;

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// The first word, and the rest after the blanks that follow it.
pub(super) fn first(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_at(text.find(is_blank).unwrap_or(text.len()));
    (word, rest.trim_start_matches(is_blank))
}

/// Words with blanks between, whatever is in them.
pub(super) fn plain(text: &str) -> Vec<String> {
    text.split(is_blank)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Words in which quotes and escapes protect blanks.
pub(super) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return words;
        }
        let word = quoted_word(&mut chars, escape);
        if !word.is_empty() {
            words.push(word);
        }
    }
}

fn quoted_word(chars: &mut Peekable<Chars<'_>>, escape: char) -> String {
    let mut word = String::new();
    let mut quote = None;
    while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_whitespace()) {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            // Nothing is escaped within single quotes, and nothing at the end, where the escape is dropped.
            _ if c == escape && quote != Some('\'') => {
                let Some(escaped) = chars.next() else { break };
                word.push(c);
                word.push(escaped);
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    word
}

/// The flags at the start of the text, and the rest. Flags end at the first word without `--` or after a bare `--`.
pub(super) fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while rest.starts_with("--") {
        let mut chars = rest.chars();
        let flag = flag(&mut chars, escape);
        rest = chars.as_str();
        if flag == "--" {
            break;
        }
        flags.push(flag);
        rest = rest.trim_start_matches(is_blank);
    }
    (flags, rest)
}

fn flag(chars: &mut Chars<'_>, escape: char) -> String {
    let mut flag = String::new();
    let mut quote = None;
    loop {
        let before = chars.clone();
        let Some(c) = chars.next() else { return flag };
        match quote {
            None if is_blank(c) => {
                *chars = before;
                return flag;
            }
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => flag.extend(chars.next()),
            _ => flag.push(c),
        }
    }
}

/// Names and values: `name=value` any number of times, or one `name value` in which the value is the rest of the text.
pub(super) fn pairs(
    text: &str,
    keyword: &'static str,
    escape: char,
) -> Result<Pairs, SyntaxErrorKind> {
    let words = quoted(text, escape);
    match words.first() {
        None => Ok(Pairs::new()),
        Some(word) if !word.contains('=') => {
            let (key, value) = first(text);
            if value.is_empty() {
                return Err(SyntaxErrorKind::MissingValue { keyword });
            }
            Ok(vec![pair(key, value, Delimiter::Space)])
        }
        Some(_) => words.into_iter().map(equation).collect(),
    }
}

fn equation(word: String) -> Result<KeyValue, SyntaxErrorKind> {
    match word.split_once('=') {
        Some((key, value)) => Ok(pair(key, value, Delimiter::Equals)),
        None => Err(SyntaxErrorKind::MissingEquals { word }),
    }
}

fn pair(key: &str, value: &str, delimiter: Delimiter) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
        delimiter,
    }
}
