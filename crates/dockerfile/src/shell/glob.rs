//! The patterns of `${name#pattern}` and its kin: `*` for any text, `?` for any character, `\` before either.

use regex::{NoExpand, Regex};

use super::ExpandErrorKind;

/// Which of several matches counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Shortest,
    Longest,
}

/// A compiled pattern.
pub(super) struct Glob(Regex);

impl Glob {
    pub(super) fn new(pattern: &str, greed: Greed) -> Result<Self, ExpandErrorKind> {
        Self::compile(String::new(), pattern, greed)
    }

    fn at_start(pattern: &str, greed: Greed) -> Result<Self, ExpandErrorKind> {
        Self::compile("^".to_owned(), pattern, greed)
    }

    fn compile(mut regex: String, pattern: &str, greed: Greed) -> Result<Self, ExpandErrorKind> {
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' => {
                    regex.push_str(if greed == Greed::Longest { ".*" } else { ".*?" });
                    continue;
                }
                '?' => {
                    regex.push('.');
                    continue;
                }
                // These had to be escaped to be in the pattern at all; the escape is not part of it.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next().unwrap_or(char::REPLACEMENT_CHARACTER) {
                    escaped @ ('*' | '?' | '\\') => escaped,
                    escaped => {
                        return Err(ExpandErrorKind::InvalidEscape {
                            pattern: pattern.to_owned(),
                            escaped,
                        });
                    }
                },
                c => c,
            };
            regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
        }
        Regex::new(&regex)
            .map(Self)
            .map_err(|error| ExpandErrorKind::InvalidPattern {
                pattern: pattern.to_owned(),
                reason: error.to_string(),
            })
    }

    /// Replaces the first `limit` matches by `text`.
    pub(super) fn replace(&self, value: &str, text: &str, limit: usize) -> String {
        // The crate's own word for no limit is zero.
        let limit = if limit == usize::MAX { 0 } else { limit };
        self.0.replacen(value, limit, NoExpand(text)).into_owned()
    }
}

/// Takes a match at the start off the value.
pub(super) fn cut_start(
    pattern: &str,
    value: &str,
    greed: Greed,
) -> Result<String, ExpandErrorKind> {
    let glob = Glob::at_start(pattern, greed)?;
    let end = glob.0.find(value).map_or(0, |found| found.end());
    Ok(value[end..].to_owned())
}

/// Takes a match at the end off the value. A search goes from left to right, so that the shortest match at the end is
/// found only from behind: pattern and value are turned around.
pub(super) fn cut_end(pattern: &str, value: &str, greed: Greed) -> Result<String, ExpandErrorKind> {
    let reversed = cut_start(&reversed_pattern(pattern), &reversed(value), greed)?;
    Ok(reversed.chars().rev().collect())
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// The pattern from behind, with each escape still before what it escapes.
fn reversed_pattern(pattern: &str) -> String {
    let mut units: Vec<[Option<char>; 2]> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        units.push([Some(c), if c == '\\' { chars.next() } else { None }]);
    }
    units.into_iter().rev().flatten().flatten().collect()
}
