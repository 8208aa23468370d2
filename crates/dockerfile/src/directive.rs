//! Parser directives: `# name=value` comments at the very top of a file.

use std::borrow::Cow;

use crate::position::Line;

/// A parser directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// What it sets.
    pub name: DirectiveName,
    /// Its value, without the blanks around it.
    pub value: String,
    /// Its line.
    pub line: Line,
}

/// The directives there are. Any other comment ends the directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirectiveName {
    /// `syntax`: the frontend image that reads the file.
    Syntax,
    /// `escape`: the escape character.
    Escape,
    /// `check`: which lint rules run and whether their warnings are errors.
    Check,
}

impl DirectiveName {
    fn parse(name: &str) -> Option<Self> {
        [Self::Syntax, Self::Escape, Self::Check]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Escape => "escape",
            Self::Check => "check",
        }
    }
}

impl Directive {
    /// The value up to its first space: a reference or an option, without the arguments that may follow.
    pub fn first_word(&self) -> &str {
        self.value.split(' ').next().unwrap_or_default()
    }
}

/// The frontend that a file asks for with `# syntax=`, `// syntax=` or a JSON object with the key `syntax`. A line
/// `#!` before it is skipped.
pub fn detect_syntax(text: &[u8]) -> Option<Directive> {
    let (line, text) = skip_preamble(text);
    find(DirectiveName::Syntax, "#", line, &text)
        .or_else(|| find(DirectiveName::Syntax, "//", line, &text))
        .or_else(|| find_json(line, &text))
}

/// The directive of that name among the `#` comments at the top. A line `#!` before them is skipped.
pub fn find_directive(name: DirectiveName, text: &[u8]) -> Option<Directive> {
    let (line, text) = skip_preamble(text);
    find(name, "#", line, &text)
}

/// Reads one comment, given without its `#`, as a directive.
pub(crate) fn parse_comment(comment: &str) -> Option<(DirectiveName, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let name = DirectiveName::parse(trim_end_ascii(name))?;
    let value = trim_ascii(value);
    (!value.is_empty()).then_some((name, value))
}

/// Reads directives line by line until the first line that is none.
#[derive(Debug)]
pub(crate) struct DirectiveReader {
    mark: &'static str,
    line: Line,
    seen: Vec<DirectiveName>,
    done: bool,
}

impl DirectiveReader {
    /// A reader of comments that start with `mark`, after `line` lines that it does not see.
    pub(crate) fn new(mark: &'static str, line: Line) -> Self {
        Self {
            mark,
            line,
            seen: Vec::new(),
            done: false,
        }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// The name of a directive that already stands further up.
    pub(crate) fn read(&mut self, text: &str) -> Result<Option<Directive>, DirectiveName> {
        self.line += 1;
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = text.strip_prefix(self.mark).and_then(parse_comment) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(name);
        }
        self.seen.push(name);
        Ok(Some(Directive {
            name,
            value: value.to_owned(),
            line: self.line,
        }))
    }
}

fn find(name: DirectiveName, mark: &'static str, line: Line, text: &str) -> Option<Directive> {
    let mut reader = DirectiveReader::new(mark, line);
    for line in text.lines() {
        match reader.read(line) {
            Ok(Some(directive)) if directive.name == name => return Some(directive),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
    None
}

fn find_json(line: Line, text: &str) -> Option<Directive> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let value = object.get(DirectiveName::Syntax.as_str())?.as_str()?;
    Some(Directive {
        name: DirectiveName::Syntax,
        value: value.to_owned(),
        line: line + 1,
    })
}

/// Drops a byte order mark and a line `#!`; says how many lines are gone.
fn skip_preamble(text: &[u8]) -> (Line, Cow<'_, str>) {
    let text = strip_bom(text);
    if !text.starts_with(b"#!") {
        return (0, String::from_utf8_lossy(text));
    }
    let end = text
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(text.len(), |end| end + 1);
    (1, String::from_utf8_lossy(&text[end..]))
}

pub(crate) fn strip_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn trim_ascii(text: &str) -> &str {
    trim_end_ascii(text).trim_start_matches(is_blank)
}

fn trim_end_ascii(text: &str) -> &str {
    text.trim_end_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0c' | '\r')
}
