//! What follows a dollar sign: `$name` and the forms in braces.

use super::expand::{Expander, Result};
use super::glob::{self, Glob, Greed};
use super::{Escapes, ExpandErrorKind, Unset};

/// Substitutions nested deeper than this are refused; nobody writes them, and each level takes stack.
const MAX_DEPTH: usize = 128;

impl Expander<'_> {
    /// After `$`.
    pub(super) fn substitution(&mut self) -> Result<String> {
        if self.chars.next_if_eq(&'{').is_some() {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value(&name) {
            None if self.lexer.unset == Unset::Keep => format!("${name}"),
            value => value.unwrap_or_default(),
        })
    }

    /// After `${`.
    fn braces(&mut self) -> Result<String> {
        match self.chars.peek() {
            None => return Err(ExpandErrorKind::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandErrorKind::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next_or_replacement() {
            '}' => Ok(match self.value(&name) {
                None if self.lexer.unset == Unset::Keep => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            ':' => {
                let operator = self.next_or_replacement();
                if matches!(operator, '#' | '%') {
                    return Err(unsupported(&format!(":{operator}")));
                }
                self.conditional(&name, operator, Empty::IsUnset)
            }
            operator @ ('-' | '+' | '?') => self.conditional(&name, operator, Empty::IsSet),
            operator @ ('#' | '%') => self.cut(&name, operator),
            '/' => self.replacement(&name),
            operator => Err(unsupported(operator.encode_utf8(&mut [0; 4]))),
        }
    }

    /// `${name-word}`, `${name+word}`, `${name?word}`, also with a colon before the operator.
    fn conditional(&mut self, name: &str, operator: char, empty: Empty) -> Result<String> {
        let word = self.operand('}', Escapes::Remove, ExpandErrorKind::MissingBrace)?;
        let value = self.value(name);
        let colon = if empty == Empty::IsUnset { ":" } else { "" };
        if value.is_none() && self.lexer.unset == Unset::Keep {
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let filled = value
            .as_deref()
            .filter(|value| empty == Empty::IsSet || !value.is_empty());
        match (operator, filled) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value.to_owned()),
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) => {
                let default = if value.is_some() {
                    "is not allowed to be empty"
                } else {
                    "is not allowed to be unset"
                };
                let message = if word.is_empty() {
                    default.to_owned()
                } else {
                    word
                };
                Err(ExpandErrorKind::Required {
                    name: name.to_owned(),
                    message,
                })
            }
            _ => Err(unsupported(&format!("{colon}{operator}"))),
        }
    }

    /// `${name#pattern}` and `${name%pattern}`; doubled, the longest match goes instead of the shortest.
    fn cut(&mut self, name: &str, operator: char) -> Result<String> {
        let operand = self.operand('}', Escapes::Keep, ExpandErrorKind::MissingBrace)?;
        let value = match self.value(name) {
            None if self.lexer.unset == Unset::Keep => {
                return Ok(format!("${{{name}{operator}{operand}}}"));
            }
            value => value.unwrap_or_default(),
        };
        let (pattern, greed) = match operand.strip_prefix(operator) {
            Some(pattern) => (pattern, Greed::Longest),
            None => (operand.as_str(), Greed::Shortest),
        };
        if operator == '#' {
            glob::cut_start(pattern, &value, greed)
        } else {
            glob::cut_end(pattern, &value, greed)
        }
    }

    /// `${name/pattern/text}`; with `//` all matches are replaced instead of the first.
    fn replacement(&mut self, name: &str) -> Result<String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.operand('/', Escapes::Keep, ExpandErrorKind::MissingSlash)?;
        let text = self.operand('}', Escapes::Keep, ExpandErrorKind::MissingBrace)?;
        let value = match self.value(name) {
            None if self.lexer.unset == Unset::Keep => {
                let slashes = if all { "//" } else { "/" };
                return Ok(format!("${{{name}{slashes}{pattern}/{text}}}"));
            }
            value => value.unwrap_or_default(),
        };
        let glob = Glob::new(&pattern, Greed::Longest)?;
        Ok(glob.replace(&value, &text, if all { usize::MAX } else { 1 }))
    }

    /// The text of a substitution up to `stop`, with what is missing if the whole text ends before.
    fn operand(
        &mut self,
        stop: char,
        escapes: Escapes,
        missing: ExpandErrorKind,
    ) -> Result<String> {
        if self.depth == MAX_DEPTH {
            return Err(ExpandErrorKind::TooDeep { limit: MAX_DEPTH });
        }
        let outer = std::mem::replace(&mut self.escapes, escapes);
        self.depth += 1;
        let result = self.run(Some(stop));
        self.depth -= 1;
        self.escapes = outer;
        match result {
            Ok((text, _)) => Ok(text),
            Err(_) if self.chars.peek().is_none() => Err(missing),
            Err(error) => Err(error),
        }
    }

    fn next_or_replacement(&mut self) -> char {
        self.chars.next().unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// What a variable with an empty value counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsSet,
    IsUnset,
}

fn unsupported(modifier: &str) -> ExpandErrorKind {
    ExpandErrorKind::UnsupportedModifier {
        modifier: modifier.to_owned(),
    }
}
