//! A statement, split into keyword, flags and arguments by the rules of its keyword.

use serde_json::Value;

use super::words;
use crate::error::SyntaxErrorKind;
use crate::heredoc::Heredoc;
use crate::instruction::Form;
use crate::position::Location;

/// An instruction before it is typed.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The keyword as written.
    pub(crate) keyword: String,
    /// The flags directly after the keyword, with their dashes.
    pub(crate) flags: Vec<String>,
    /// The arguments. `ENV` and `LABEL` have theirs in `pairs` instead, `ONBUILD` only its trigger's keyword.
    pub(crate) args: Vec<String>,
    /// The names and values of `ENV` and `LABEL`.
    pub(crate) pairs: words::Pairs,
    /// Whether the arguments are a JSON array.
    pub(crate) form: Form,
    /// Whether heredocs may follow.
    pub(crate) takes_heredocs: bool,
    pub(crate) heredocs: Vec<Heredoc>,
    /// The text on one line.
    pub(crate) text: String,
    pub(crate) location: Location,
    pub(crate) comments: Vec<String>,
}

/// The ways to split arguments.
enum Grammar {
    /// A JSON array, or words.
    JsonOrWords,
    /// A JSON array, or the text as a whole.
    JsonOrText,
    /// Words.
    Words,
    /// Words in which quotes and escapes protect blanks.
    QuotedWords,
    /// Names and values.
    Pairs(&'static str),
    /// The text as a whole.
    Text,
    /// A word, then a JSON array or text.
    WordThenJsonOrText,
    /// Another instruction.
    Trigger,
    /// An instruction that does not exist; that is said later.
    Unknown,
}

fn grammar(keyword: &str) -> Grammar {
    match keyword {
        "add" | "copy" | "volume" => Grammar::JsonOrWords,
        "cmd" | "entrypoint" | "run" | "shell" => Grammar::JsonOrText,
        "expose" | "from" => Grammar::Words,
        "arg" => Grammar::QuotedWords,
        "env" => Grammar::Pairs("ENV"),
        "label" => Grammar::Pairs("LABEL"),
        "maintainer" | "stopsignal" | "user" | "workdir" => Grammar::Text,
        "healthcheck" => Grammar::WordThenJsonOrText,
        "onbuild" => Grammar::Trigger,
        _ => Grammar::Unknown,
    }
}

impl Statement {
    /// Splits the text of a statement, which so far covers `location`. Comments and heredocs are the caller's to add.
    pub(crate) fn split(
        text: &str,
        escape: char,
        location: Location,
    ) -> Result<Self, SyntaxErrorKind> {
        let (keyword, rest) = words::first(text.trim());
        let (flags, rest) = words::flags(rest, escape);
        let mut statement = Self {
            keyword: keyword.to_owned(),
            flags,
            args: Vec::new(),
            pairs: Vec::new(),
            form: Form::Shell,
            takes_heredocs: false,
            heredocs: Vec::new(),
            text: text.to_owned(),
            location,
            comments: Vec::new(),
        };
        statement.split_arguments(rest.trim(), escape)?;
        Ok(statement)
    }

    /// The keyword in lower case.
    pub(crate) fn lower_keyword(&self) -> String {
        self.keyword.to_lowercase()
    }

    fn split_arguments(&mut self, rest: &str, escape: char) -> Result<(), SyntaxErrorKind> {
        let keyword = self.lower_keyword();
        match grammar(&keyword) {
            Grammar::JsonOrWords => self.json_or(rest, words::plain)?,
            Grammar::JsonOrText => self.json_or(rest, whole)?,
            Grammar::Words => self.args = words::plain(rest),
            Grammar::QuotedWords => self.args = words::quoted(rest, escape),
            Grammar::Pairs(keyword) => self.pairs = words::pairs(rest, keyword, escape)?,
            Grammar::Text => self.args = whole(rest),
            Grammar::WordThenJsonOrText => {
                let (kind, rest) = words::first(rest);
                self.json_or(rest, whole)?;
                self.args.splice(0..0, whole(kind));
            }
            Grammar::Trigger => {
                if !rest.is_empty() {
                    let trigger = self.split_trigger(rest, escape)?;
                    self.takes_heredocs = trigger.takes_heredocs;
                    self.args = vec![trigger.keyword];
                }
            }
            Grammar::Unknown => {}
        }
        if matches!(keyword.as_str(), "add" | "copy" | "run") {
            self.takes_heredocs = self.form == Form::Shell;
        }
        Ok(())
    }

    /// The instruction after `ONBUILD`. Another `ONBUILD` within is refused later anyway, so it is not looked into.
    fn split_trigger(&self, text: &str, escape: char) -> Result<Self, SyntaxErrorKind> {
        let (keyword, _) = words::first(text);
        let text = if keyword.eq_ignore_ascii_case("onbuild") {
            keyword
        } else {
            text
        };
        Self::split(text, escape, self.location)
    }

    fn json_or(
        &mut self,
        rest: &str,
        otherwise: fn(&str) -> Vec<String>,
    ) -> Result<(), SyntaxErrorKind> {
        match json_strings(rest)? {
            Some(strings) => {
                self.args = strings;
                self.form = Form::Exec;
            }
            None => self.args = otherwise(rest),
        }
        Ok(())
    }
}

/// The text as the only argument, if there is any.
fn whole(text: &str) -> Vec<String> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![text.to_owned()]
    }
}

/// The strings of a JSON array. `None` if the text is not a JSON array, which makes it plain text.
fn json_strings(text: &str) -> Result<Option<Vec<String>>, SyntaxErrorKind> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text) else {
        return Ok(None);
    };
    let strings = values.into_iter().map(|value| match value {
        Value::String(string) => Ok(string),
        _ => Err(SyntaxErrorKind::NotStringArray),
    });
    strings.collect::<Result<_, _>>().map(Some)
}
