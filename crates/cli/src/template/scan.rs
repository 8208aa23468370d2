//! Reads the inside of one action.

use super::TemplateError;
use super::parse::{Pipeline, Term};

/// Deeper nesting than anybody writes.
const DEPTH_LIMIT: usize = 32;

pub(super) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Commands separated by `|`, up to the end or a closing parenthesis.
    pub(super) fn pipeline(&mut self, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth > DEPTH_LIMIT {
            return Err(TemplateError::syntax("too deeply nested"));
        }
        let mut commands = vec![Vec::new()];
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else {
                break;
            };
            match first {
                ')' => break,
                '|' => {
                    self.rest = &self.rest[1..];
                    commands.push(Vec::new());
                }
                _ => {
                    let term = self.term(first, depth)?;
                    if let Some(command) = commands.last_mut() {
                        command.push(term);
                    }
                }
            }
        }
        match commands.iter().any(Vec::is_empty) {
            true => Err(TemplateError::syntax("missing value for command")),
            false => Ok(commands),
        }
    }

    fn term(&mut self, first: char, depth: usize) -> Result<Term, TemplateError> {
        match first {
            '"' => self.quoted(),
            '`' => {
                let body = &self.rest[1..];
                let end = body.find('`').ok_or_else(unclosed)?;
                self.rest = &body[end + 1..];
                Ok(Term::Text(body[..end].to_owned()))
            }
            '(' => {
                self.rest = &self.rest[1..];
                let inner = self.pipeline(depth + 1)?;
                match self.rest.strip_prefix(')') {
                    Some(rest) => self.rest = rest,
                    None => return Err(TemplateError::syntax("unclosed parenthesis")),
                }
                Ok(Term::Parenthesis(inner))
            }
            _ => self.word(),
        }
    }

    /// A string in Go's form, of whose escapes JSON knows the common ones.
    fn quoted(&mut self) -> Result<Term, TemplateError> {
        let mut escaped = false;
        for (index, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = serde_json::from_str(&self.rest[..=index]);
                    self.rest = &self.rest[index + 1..];
                    let text = text.map_err(|error| TemplateError::syntax(error.to_string()))?;
                    return Ok(Term::Text(text));
                }
                _ => {}
            }
        }
        Err(unclosed())
    }

    fn word(&mut self) -> Result<Term, TemplateError> {
        let is_end = |c: char| c.is_whitespace() || "()|\"`".contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" => return Ok(Term::Bool(true)),
            "false" => return Ok(Term::Bool(false)),
            _ => {}
        }
        let (from_root, path) = match word.strip_prefix('$') {
            Some(path) => (true, path),
            None => (false, word),
        };
        if path.starts_with('.') || (from_root && path.is_empty()) {
            return path_of(from_root, path);
        }
        if from_root {
            return Err(TemplateError::Unsupported(format!("variable {word:?}")));
        }
        if let Ok(number) = word.parse::<i64>() {
            return Ok(Term::Int(number));
        }
        match word.chars().all(|c| c.is_alphanumeric() || c == '_') {
            true => Ok(Term::Name(word.to_owned())),
            false => Err(TemplateError::syntax(format!("unexpected {word:?}"))),
        }
    }
}

fn path_of(from_root: bool, path: &str) -> Result<Term, TemplateError> {
    let names = path.strip_prefix('.').unwrap_or_default();
    let fields = names.split('.').map(str::to_owned).collect::<Vec<_>>();
    match fields.as_slice() {
        [only] if only.is_empty() => Ok(Term::Path {
            from_root,
            fields: Vec::new(),
        }),
        fields if fields.iter().any(String::is_empty) => {
            Err(TemplateError::syntax(format!("unexpected {path:?}")))
        }
        _ => Ok(Term::Path { from_root, fields }),
    }
}

fn unclosed() -> TemplateError {
    TemplateError::syntax("unterminated quoted string")
}
