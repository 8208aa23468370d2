//! Lines into statements: directives and comments, continuations, heredoc bodies.

use crate::directive::{Directive, DirectiveName, DirectiveReader};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::heredoc::{self, Heredoc, HeredocWord};
use crate::parse::Statement;
use crate::position::{Line, Location};

/// The longest line, without its end.
const LINE_LIMIT: usize = 64 * 1024 - 1;

/// The escape character unless a directive says otherwise.
const DEFAULT_ESCAPE: char = '\\';

type Result<T> = std::result::Result<T, SyntaxError>;

/// Refuses lines that are longer than any sane one.
pub(super) fn check_lengths(text: &[u8]) -> Result<()> {
    match text
        .split(|&byte| byte == b'\n')
        .position(|line| line.len() > LINE_LIMIT)
    {
        None => Ok(()),
        Some(index) => {
            let line = Line::try_from(index + 1).unwrap_or(Line::MAX);
            Err(located(
                SyntaxErrorKind::LineTooLong { limit: LINE_LIMIT },
                line,
                line,
            ))
        }
    }
}

/// Reads statements line by line.
pub(super) struct Reader<'a> {
    /// The rest of the text.
    rest: &'a str,
    /// How many lines have been read.
    line: Line,
    directive_reader: DirectiveReader,
    pub(super) directives: Vec<Directive>,
    pub(super) empty_continuations: Vec<Location>,
    escape: char,
    /// The comments since the last statement or empty comment.
    comments: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.strip_prefix('\u{feff}').unwrap_or(text),
            line: 0,
            directive_reader: DirectiveReader::new("#", 0),
            directives: Vec::new(),
            empty_continuations: Vec::new(),
            escape: DEFAULT_ESCAPE,
            comments: Vec::new(),
        }
    }

    pub(super) fn escape(&self) -> char {
        self.escape
    }

    pub(super) fn last_line(&self) -> Location {
        Location::line(self.line)
    }

    /// All statements, in order.
    pub(super) fn read_all(&mut self) -> Result<Vec<Statement>> {
        let mut statements = Vec::new();
        while let Some(raw) = self.next_line() {
            let line = raw.trim_start().trim_end_matches(['\r', '\n']);
            let is_directive = self.read_directive(line)?;
            if let Some(comment) = line.strip_prefix('#') {
                if !is_directive {
                    self.push_comment(comment.trim());
                }
            } else if !line.is_empty() {
                statements.push(self.read_statement(line)?);
            }
        }
        Ok(statements)
    }

    /// The next line with its end.
    fn next_line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    fn read_directive(&mut self, line: &str) -> Result<bool> {
        let fail = |kind| Err(located(kind, self.line, self.line));
        let directive = match self.directive_reader.read(line) {
            Ok(Some(directive)) => directive,
            Ok(None) => return Ok(false),
            Err(name) => {
                return fail(SyntaxErrorKind::RepeatedDirective {
                    name: name.as_str().to_owned(),
                });
            }
        };
        if directive.name == DirectiveName::Escape {
            self.escape = match directive.value.as_str() {
                "\\" => '\\',
                "`" => '`',
                other => {
                    return fail(SyntaxErrorKind::InvalidEscape {
                        token: other.to_owned(),
                    });
                }
            };
        }
        self.directives.push(directive);
        Ok(true)
    }

    /// Empty comments separate: what is above does not belong to the instruction below.
    fn push_comment(&mut self, comment: &str) {
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(comment.to_owned());
        }
    }

    /// Reads on after the first line of a statement.
    fn read_statement(&mut self, first: &str) -> Result<Statement> {
        let start = self.line;
        let text = self.join_continuations(first);
        let location = Location::new(start, self.line);
        let fail = |kind| SyntaxError {
            kind,
            location: Some(location),
        };
        let mut statement = Statement::split(&text, self.escape, location).map_err(fail)?;
        if statement.takes_heredocs && text.contains("<<") {
            let words = heredoc::words_of(&text)
                .map_err(|error| fail(SyntaxErrorKind::HeredocWord(error)))?;
            for word in words {
                statement.heredocs.push(self.read_heredoc(word, start)?);
            }
        }
        statement.location = Location::new(start, self.line);
        statement.comments = std::mem::take(&mut self.comments);
        Ok(statement)
    }

    /// Joins a line with those that continue it. Comments between are dropped and so are empty lines, which are an
    /// old mistake of the grammar and noted.
    fn join_continuations(&mut self, first: &str) -> String {
        let (text, mut goes_on) = self.cut_continuation(first);
        let mut text = text.to_owned();
        let mut has_empty_line = false;
        while goes_on {
            let Some(raw) = self.next_line() else { break };
            let line = raw.trim_end_matches(['\r', '\n']);
            let content = line.trim_start();
            if content.starts_with('#') {
                continue;
            }
            if content.is_empty() {
                has_empty_line = true;
                continue;
            }
            let part;
            (part, goes_on) = self.cut_continuation(line);
            text.push_str(part);
        }
        if has_empty_line {
            self.empty_continuations.push(self.last_line());
        }
        text
    }

    /// Whether a line goes on: it ends in an escape character, which is not itself escaped, and blanks. They are cut.
    fn cut_continuation<'b>(&self, line: &'b str) -> (&'b str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(text) if !text.ends_with(self.escape) => (text, true),
            _ => (line, false),
        }
    }

    fn read_heredoc(&mut self, word: HeredocWord, start: Line) -> Result<Heredoc> {
        let body = self.rest;
        let mut length = 0;
        while let Some(raw) = self.next_line() {
            let line = raw.trim_end_matches(['\r', '\n']);
            let line = if word.chomp {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if line == word.name {
                return Ok(Heredoc {
                    word,
                    content: body[..length].to_owned(),
                });
            }
            length += raw.len();
        }
        Err(located(
            SyntaxErrorKind::UnterminatedHeredoc,
            start,
            self.line,
        ))
    }
}

fn located(kind: SyntaxErrorKind, first: Line, last: Line) -> SyntaxError {
    SyntaxError {
        kind,
        location: Some(Location::new(first, last)),
    }
}
