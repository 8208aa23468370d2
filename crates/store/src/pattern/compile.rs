//! One pattern, compiled to the cheapest test that decides it.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

use super::clean;

/// A pattern, ready to match.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    exception: bool,
    test: Test,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An exception to nothing.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation,
    /// A bracket does not close, a range runs backwards, or an escape stands at the end.
    #[error(
        "syntax error in pattern: {pattern:?} has an unclosed or malformed [...], or ends in a backslash"
    )]
    Syntax {
        /// The pattern.
        pattern: String,
    },
    /// The pattern is too large to be compiled.
    #[error("pattern {pattern:?} is too large")]
    TooLarge {
        /// The pattern.
        pattern: String,
    },
}

#[derive(Debug, Clone)]
enum Test {
    /// The path is the pattern.
    Exact,
    /// `prefix**`
    Prefix(String),
    /// `**suffix`: any directories count, also none before a suffix that starts with a slash.
    Suffix(String),
    /// Everything else. Most paths are ruled out by how they end before the expression runs.
    Regex { tail: String, regex: Box<Regex> },
}

impl Pattern {
    /// Compiles a pattern; blanks around it are dropped. `None` if nothing is left.
    ///
    /// # Errors
    /// If its syntax is wrong.
    pub fn new(pattern: &str) -> Result<Option<Self>, PatternError> {
        let trimmed = pattern.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let cleaned = clean(trimmed);
        let (text, exception) = match cleaned.strip_prefix('!') {
            Some("") => return Err(PatternError::LoneExclamation),
            Some(text) => (text.to_owned(), true),
            None => (cleaned, false),
        };
        let test = compile(&text)?;
        Ok(Some(Self {
            text,
            exception,
            test,
        }))
    }

    /// The pattern in its cleaned form, without `!`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it started with `!`: paths that match it are taken out of what earlier patterns matched.
    pub fn is_exception(&self) -> bool {
        self.exception
    }

    /// Whether the pattern matches this very path; directories above do not count.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        self.test_path(path.as_ref())
    }

    pub(super) fn test_path(&self, path: &[u8]) -> bool {
        match &self.test {
            Test::Exact => path == self.text.as_bytes(),
            Test::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            Test::Suffix(suffix) => {
                path.ends_with(suffix.as_bytes())
                    || suffix
                        .strip_prefix('/')
                        .is_some_and(|name| name.as_bytes() == path)
            }
            Test::Regex { tail, regex } => {
                path.ends_with(tail.as_bytes())
                    && match String::from_utf8_lossy(path) {
                        Cow::Borrowed(path) => regex.is_match(path),
                        Cow::Owned(path) => regex.is_match(&path),
                    }
            }
        }
    }
}

/// What a pattern has turned out to be so far.
#[derive(PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

fn compile(pattern: &str) -> Result<Test, PatternError> {
    let syntax = || PatternError::Syntax {
        pattern: pattern.to_owned(),
    };
    let mut shape = Shape::Exact;
    let mut regex = String::from("^");
    let mut tail = String::new();
    let mut chars = pattern.chars().peekable();
    let mut at_start = true;

    while let Some(c) = chars.next() {
        let literal = match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                match (at_start, chars.peek().is_none(), &shape) {
                    // The text before may be empty, so this is `**` as well.
                    (true, _, _) => shape = Shape::Suffix,
                    (false, true, Shape::Exact) => shape = Shape::Prefix,
                    _ => shape = Shape::Regex,
                }
                regex.push_str(if chars.peek().is_none() {
                    ".*"
                } else {
                    "(?:.*/)?"
                });
                None
            }
            '*' | '?' => {
                shape = Shape::Regex;
                regex.push_str(if c == '*' { "[^/]*" } else { "[^/]" });
                None
            }
            '[' => {
                shape = Shape::Regex;
                push_class(&mut chars, &mut regex).ok_or_else(syntax)?;
                None
            }
            '\\' => {
                shape = Shape::Regex;
                Some(chars.next().ok_or_else(syntax)?)
            }
            c => Some(c),
        };
        match literal {
            Some(c) => {
                push_literal(&mut regex, c);
                tail.push(c);
            }
            None => tail.clear(),
        }
        at_start = false;
    }

    let test = match shape {
        Shape::Exact => Test::Exact,
        Shape::Prefix => Test::Prefix(pattern.trim_end_matches("**").to_owned()),
        Shape::Suffix => Test::Suffix(pattern[2..].to_owned()),
        Shape::Regex => {
            regex.push('$');
            let regex = Regex::new(&regex).map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError::TooLarge {
                    pattern: pattern.to_owned(),
                },
                _ => syntax(),
            })?;
            Test::Regex {
                tail,
                regex: Box::new(regex),
            }
        }
    };
    Ok(test)
}

/// Reads a class up to its `]` and appends it as a regular expression.
fn push_class(chars: &mut Peekable<Chars<'_>>, regex: &mut String) -> Option<()> {
    regex.push('[');
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut empty = true;
    loop {
        if !empty && chars.next_if_eq(&']').is_some() {
            regex.push(']');
            return Some(());
        }
        push_literal(regex, class_member(chars)?);
        if chars.next_if_eq(&'-').is_some() {
            regex.push('-');
            push_literal(regex, class_member(chars)?);
        }
        empty = false;
    }
}

fn class_member(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

fn push_literal(regex: &mut String, c: char) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}
