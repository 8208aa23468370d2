//! From text to [`Dockerfile`].
//!
//! Lines become statements (continuations joined, comments collected, heredoc bodies attached); a statement is split by
//! the rules of its keyword and then becomes a typed instruction.

mod lines;
mod statement;
mod words;

use crate::directive::Directive;
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::instruction::{Arg, Command, Instruction, InstructionError, Located, build};
use crate::position::Location;

use lines::Reader;
pub(crate) use statement::Statement;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The parser directives at the top, in order.
    pub directives: Vec<Directive>,
    /// The escape character: `\`, or `` ` `` if a directive says so. Word expansion needs it too.
    pub escape: char,
    /// `ARG` instructions before the first stage.
    pub meta_args: Vec<Located<Arg>>,
    /// The stages, never none.
    pub stages: Vec<Stage>,
    /// Last lines of instructions that go on over an empty line; input of the lint rule `NoEmptyContinuation`.
    pub empty_continuations: Vec<Location>,
}

/// A build stage: `FROM` and the instructions up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The stage's name in lower case, if it has one.
    pub name: Option<String>,
    /// Image, earlier stage, named context or `scratch`, unexpanded.
    pub base: String,
    /// `--platform`, unexpanded; never empty.
    pub platform: Option<String>,
    /// The instructions, in order.
    pub commands: Vec<Located<Command>>,
    /// The text of a comment `# <name> <description>` directly above.
    pub description: Option<String>,
    /// `FROM` in the author's own casing.
    pub keyword: String,
    /// `AS` and the stage's name in the author's own casing.
    pub alias: Option<Alias>,
    /// The text of the `FROM` instruction on one line.
    pub source: String,
    /// The lines of the `FROM` instruction.
    pub location: Location,
    /// The comments directly above.
    pub comments: Vec<String>,
}

/// The `AS name` of a `FROM` instruction as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `AS` in the author's own casing.
    pub keyword: String,
    /// The name in the author's own casing.
    pub name: String,
}

/// Reads a Dockerfile. Bytes that are not UTF-8 read as U+FFFD.
///
/// # Errors
/// The first thing that is wrong, with its lines: what concerns lines and words before what concerns instructions.
pub fn parse(text: &[u8]) -> Result<Dockerfile, SyntaxError> {
    let mut file = Dockerfile::nothing();
    file.read(text)?;
    Ok(file)
}

/// The instructions above the error of a Dockerfile that [`parse`] refuses.
pub(crate) fn parse_part(text: &[u8]) -> Dockerfile {
    let mut file = Dockerfile::nothing();
    // It has been told already.
    let _ = file.read(text);
    file
}

impl Dockerfile {
    fn nothing() -> Self {
        Self {
            directives: Vec::new(),
            escape: '\\',
            meta_args: Vec::new(),
            stages: Vec::new(),
            empty_continuations: Vec::new(),
        }
    }

    fn read(&mut self, text: &[u8]) -> Result<(), SyntaxError> {
        let whole = |kind| SyntaxError {
            kind,
            location: None,
        };
        if text.is_empty() {
            return Err(whole(SyntaxErrorKind::Empty));
        }
        lines::check_lengths(text)?;
        let text = String::from_utf8_lossy(text);
        let mut reader = Reader::new(&text);
        let statements = reader.read_all()?;
        if statements.is_empty() {
            return Err(SyntaxError {
                kind: SyntaxErrorKind::NoInstructions,
                location: Some(reader.last_line()),
            });
        }
        self.escape = reader.escape();
        self.directives = reader.directives;
        self.empty_continuations = reader.empty_continuations;
        for statement in statements {
            let location = statement.location;
            self.add(statement).map_err(|kind| SyntaxError {
                kind,
                location: Some(location),
            })?;
        }
        match self.stages.is_empty() {
            true => Err(whole(SyntaxErrorKind::NoStages)),
            false => Ok(()),
        }
    }

    fn add(&mut self, statement: Statement) -> Result<(), SyntaxErrorKind> {
        let line = statement.location.first;
        let instruction =
            build(statement).map_err(|error| SyntaxErrorKind::Instruction { line, error })?;
        match (instruction, self.stages.last_mut()) {
            (Instruction::From(stage), _) => self.stages.push(*stage),
            (Instruction::Command(command), Some(stage)) => stage.commands.push(*command),
            (Instruction::Command(command), None) => {
                let arg = into_arg(*command).ok_or(SyntaxErrorKind::NoCurrentStage)?;
                self.meta_args.push(arg);
            }
        }
        Ok(())
    }
}

/// Reads one instruction: the trigger that an `ONBUILD` of a base image recorded. It has no lines of its own, so it
/// gets those of the `FROM` that pulled it in.
///
/// # Errors
/// What is wrong with it, located at `location`.
pub fn parse_trigger(text: &str, location: Location) -> Result<Located<Command>, SyntaxError> {
    let fail = |kind| SyntaxError {
        kind,
        location: Some(location),
    };
    lines::check_lengths(text.as_bytes()).map_err(|error| fail(error.kind))?;
    let statements = Reader::new(text)
        .read_all()
        .map_err(|error| fail(error.kind))?;
    let statement = match <[Statement; 1]>::try_from(statements) {
        Ok([statement]) => Statement {
            location,
            ..statement
        },
        Err(none) if none.is_empty() => return Err(fail(SyntaxErrorKind::NoInstructions)),
        Err(_) => return Err(fail(SyntaxErrorKind::ManyTriggers)),
    };
    match build(statement).map_err(|error| fail(SyntaxErrorKind::Trigger(error)))? {
        Instruction::Command(command) => Ok(*command),
        Instruction::From(stage) => {
            let error = InstructionError::Trigger {
                keyword: stage.keyword.to_uppercase(),
            };
            Err(fail(SyntaxErrorKind::Trigger(error)))
        }
    }
}

fn into_arg(command: Located<Command>) -> Option<Located<Arg>> {
    let Located {
        value: Command::Arg(value),
        keyword,
        source,
        location,
        comments,
    } = command
    else {
        return None;
    };
    Some(Located {
        value,
        keyword,
        source,
        location,
        comments,
    })
}
