//! The expander: one pass over the characters of a word.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::split::Splitter;
use super::{Escapes, ExpandError, ExpandErrorKind, Expansion, Lexer, Quotes};

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

pub(super) type Result<T, E = ExpandErrorKind> = std::result::Result<T, E>;

/// The state of an expansion.
pub(super) struct Expander<'a> {
    pub(super) lexer: &'a Lexer,
    lookup: &'a Lookup<'a>,
    pub(super) chars: Peekable<Chars<'a>>,
    /// What happens to escapes right now: patterns keep them whatever the lexer says.
    pub(super) escapes: Escapes,
    /// How many substitutions are open.
    pub(super) depth: usize,
    matched: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

impl Expander<'_> {
    /// Reads up to `stop`, or to the end of the text if there is none.
    pub(super) fn run(&mut self, stop: Option<char>) -> Result<(String, Splitter)> {
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

    /// A name: letters, digits and underscores, or digits alone, or one of the special parameters. May be empty.
    pub(super) fn name(&mut self) -> String {
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

    pub(super) fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name).map(Cow::into_owned);
        let names = if value.is_some() {
            &mut self.matched
        } else {
            &mut self.unmatched
        };
        names.insert(name.to_owned());
        value
    }
}
