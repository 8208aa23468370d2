//! The expander: one pass over the characters of a word.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::glob::{self, Glob, Greed};
use super::split::Splitter;
use super::{Escapes, ExpandError, ExpandErrorKind, Expansion, Lexer, Quotes, Unset};

/// Substitutions nested deeper than this are refused; nobody writes them, and each level takes stack.
const MAX_DEPTH: usize = 128;

/// Looks a variable up.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<Cow<'a, str>> + 'a;

/// Expands `text`, both as one word and split into words.
pub(super) fn expand<'a>(
    lexer: &'a Lexer,
    text: &'a str,
    lookup: &'a Lookup<'a>,
) -> Result<(Expansion, Vec<String>), ExpandError> {
    let mut expander = Expander {
        lexer,
        lookup,
        chars: text.chars().peekable(),
        escapes: lexer.escapes,
        depth: 0,
        matched: BTreeSet::new(),
        unmatched: BTreeSet::new(),
    };
    match expander.run(None) {
        Ok((text, words)) => Ok((
            Expansion {
                text,
                matched: expander.matched,
                unmatched: expander.unmatched,
            },
            words.finish(),
        )),
        Err(kind) => Err(ExpandError {
            word: text.to_owned(),
            kind,
        }),
    }
}

type Result<T, E = ExpandErrorKind> = std::result::Result<T, E>;

struct Expander<'a> {
    lexer: &'a Lexer,
    lookup: &'a Lookup<'a>,
    chars: Peekable<Chars<'a>>,
    /// What happens to escapes right now: patterns keep them whatever the lexer says.
    escapes: Escapes,
    depth: usize,
    matched: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

impl Expander<'_> {
    /// Reads up to `stop`, or to the end of the text if there is none.
    fn run(&mut self, stop: Option<char>) -> Result<(String, Splitter)> {
        let mut text = String::new();
        let mut words = Splitter::default();
        while let Some(c) = self.chars.next() {
            if stop == Some(c) {
                return Ok((text, words));
            }
            match c {
                '$' => {
                    let value = self.substitution()?;
                    words.push_splitting(&value);
                    text.push_str(&value);
                }
                '\'' if self.lexer.quotes != Quotes::Literal => {
                    self.single_quotes(&mut text, &mut words)?
                }
                '"' if self.lexer.quotes != Quotes::Literal => {
                    self.double_quotes(&mut text, &mut words)?
                }
                '<' => {
                    let marker = self.heredoc_marker();
                    words.push_whole(&marker);
                    text.push_str(&marker);
                }
                c if c == self.lexer.escape => {
                    if self.escapes == Escapes::Keep {
                        words.push_char(c);
                        text.push(c);
                    }
                    // An escape at the very end escapes nothing and is dropped.
                    if let Some(escaped) = self.chars.next() {
                        words.push_char(escaped);
                        text.push(escaped);
                    }
                }
                c => {
                    words.push_splitting(c.encode_utf8(&mut [0; 4]));
                    text.push(c);
                }
            }
        }
        // The caller says what is missing.
        if stop.is_some() {
            Err(ExpandErrorKind::MissingBrace)
        } else {
            Ok((text, words))
        }
    }

    /// After `'`: everything up to the next one is taken as it stands.
    fn single_quotes(&mut self, text: &mut String, words: &mut Splitter) -> Result<()> {
        let start = text.len();
        self.push_quote(text, '\'');
        loop {
            match self.chars.next().ok_or(ExpandErrorKind::SingleQuote)? {
                '\'' => break,
                c => text.push(c),
            }
        }
        self.push_quote(text, '\'');
        words.push_whole(&text[start..]);
        Ok(())
    }

    /// After `"`: variables are expanded, and escapes count before `"`, `$` and the escape character.
    fn double_quotes(&mut self, text: &mut String, words: &mut Splitter) -> Result<()> {
        let start = text.len();
        self.push_quote(text, '"');
        loop {
            match self.chars.next().ok_or(ExpandErrorKind::DoubleQuote)? {
                '"' => break,
                '$' => text.push_str(&self.substitution()?),
                c if c == self.lexer.escape => {
                    if self.escapes == Escapes::Keep {
                        text.push(c);
                    }
                    let escape = self.lexer.escape;
                    match self
                        .chars
                        .next_if(|&next| next == '"' || next == '$' || next == escape)
                    {
                        Some(escaped) => text.push(escaped),
                        None if self.chars.peek().is_none() => {}
                        // It escapes nothing, so it stands for itself; where escapes are kept, that is an escaped one.
                        None => text.push(c),
                    }
                }
                c => text.push(c),
            }
        }
        self.push_quote(text, '"');
        words.push_whole(&text[start..]);
        Ok(())
    }

    fn push_quote(&self, text: &mut String, quote: char) {
        if self.lexer.quotes == Quotes::Keep {
            text.push(quote);
        }
    }

    /// After `<`: if it starts a heredoc, blanks before its word do not end the word.
    fn heredoc_marker(&mut self) -> String {
        let mut marker = String::from("<");
        if self.chars.next_if_eq(&'<').is_some() {
            marker.push('<');
            while let Some(blank) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                marker.push(blank);
            }
        }
        marker
    }

    /// After `$`.
    fn substitution(&mut self) -> Result<String> {
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

    /// A name: letters, digits and underscores, or digits alone, or one of the special parameters. May be empty.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if self.chars.peek().is_some_and(|c| c.is_numeric()) {
            while let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
                name.push(digit);
            }
        } else if let Some(special) = self
            .chars
            .next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!'))
        {
            name.push(special);
        } else {
            while let Some(c) = self.chars.next_if(|&c| c.is_alphanumeric() || c == '_') {
                name.push(c);
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name).map(Cow::into_owned);
        let names = if value.is_some() {
            &mut self.matched
        } else {
            &mut self.unmatched
        };
        names.insert(name.to_owned());
        value
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
