//! From a statement to its typed instruction.

mod files;
mod from;

use super::flags::{Flags, Holds};
use super::{
    Arg, ArgDefinition, Cmd, Command, CommandLine, Device, Entrypoint, Env, Expose, Form,
    Healthcheck, InlineFile, InstructionError, KeyValue, Label, Located, Maintainer, MountFlag,
    Network, Onbuild, Run, Security, Shell, Stopsignal, User, Volume, Workdir,
};
use crate::parse::{Stage, Statement};
use crate::suggest::{Casing, closest};

/// A typed statement.
#[derive(Debug)]
pub(crate) enum Instruction {
    /// `FROM`
    From(Box<Stage>),
    /// Anything else.
    Command(Box<Located<Command>>),
}

type Result<T> = std::result::Result<T, InstructionError>;

/// The instructions there are.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Types a statement.
pub(crate) fn build(statement: Statement) -> Result<Instruction> {
    let value = match statement.lower_keyword().as_str() {
        "from" => return from::from(statement).map(|stage| Instruction::From(Box::new(stage))),
        "add" => Command::Add(files::add(&statement)?),
        "arg" => Command::Arg(arg(&statement)?),
        "cmd" => Command::Cmd(Cmd {
            command: flagless(&statement).map(command_line)?,
        }),
        "copy" => Command::Copy(files::copy(&statement)?),
        "entrypoint" => Command::Entrypoint(Entrypoint {
            command: flagless(&statement).map(command_line)?,
        }),
        "env" => Command::Env(Env {
            variables: pairs(&statement, "ENV")?,
        }),
        "expose" => Command::Expose(expose(&statement)?),
        "healthcheck" => Command::Healthcheck(Healthcheck::build(
            &statement.args,
            statement.form,
            &statement.flags,
        )?),
        "label" => Command::Label(Label {
            labels: pairs(&statement, "LABEL")?,
        }),
        "maintainer" => Command::Maintainer(Maintainer {
            name: only_argument(&statement, "MAINTAINER")?,
        }),
        "onbuild" => Command::Onbuild(onbuild(&statement)?),
        "run" => Command::Run(run(&statement)?),
        "shell" => Command::Shell(shell(&statement)?),
        // Its flags have never been looked at; nor have those of ARG.
        "stopsignal" => Command::Stopsignal(Stopsignal {
            signal: one_argument(&statement, "STOPSIGNAL")?,
        }),
        "user" => Command::User(User {
            user: only_argument(&statement, "USER")?,
        }),
        "volume" => Command::Volume(volume(&statement)?),
        "workdir" => Command::Workdir(Workdir {
            path: only_argument(&statement, "WORKDIR")?,
        }),
        _ => {
            let suggestion = closest(&statement.keyword, KEYWORDS, Casing::Insensitive);
            return Err(InstructionError::Unknown {
                keyword: statement.keyword,
                suggestion,
            });
        }
    };
    Ok(Instruction::Command(Box::new(Located {
        value,
        source: statement.text.trim().to_owned(),
        keyword: statement.keyword,
        location: statement.location,
        comments: statement.comments,
    })))
}

/// Refuses flags for an instruction that has none.
fn flagless(statement: &Statement) -> Result<&Statement> {
    Flags::read(&statement.flags, &[]).map(|_| statement)
}

fn one_argument(statement: &Statement, keyword: &'static str) -> Result<String> {
    match statement.args.as_slice() {
        [argument] => Ok(argument.clone()),
        _ => Err(InstructionError::NotOneArgument { keyword }),
    }
}

fn only_argument(statement: &Statement, keyword: &'static str) -> Result<String> {
    let argument = one_argument(statement, keyword)?;
    flagless(statement).map(|_| argument)
}

fn some_arguments<'a>(statement: &'a Statement, keyword: &'static str) -> Result<&'a [String]> {
    if statement.args.is_empty() {
        Err(InstructionError::NoArguments { keyword })
    } else {
        Ok(&statement.args)
    }
}

/// The description of the stage or argument of that name among the comments above it.
fn description(comments: &[String], name: &str) -> Option<String> {
    comments
        .iter()
        .find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '))
        .map(str::to_owned)
}

fn command_line(statement: &Statement) -> CommandLine {
    let files = statement.heredocs.iter().map(|heredoc| InlineFile {
        name: heredoc.word.name.clone(),
        data: heredoc.content.clone(),
        chomp: heredoc.word.chomp,
    });
    CommandLine {
        args: statement.args.clone(),
        form: statement.form,
        files: files.collect(),
    }
}

fn run(statement: &Statement) -> Result<Run> {
    let flags = Flags::read(
        &statement.flags,
        &[
            ("mount", Holds::Values),
            ("network", Holds::Value),
            ("security", Holds::Value),
            ("device", Holds::Values),
        ],
    )?;
    let devices = flags
        .values("device")
        .map(Device::parse)
        .collect::<Result<_>>()?;
    let mounts = flags
        .values("mount")
        .map(MountFlag::parse)
        .collect::<std::result::Result<_, _>>()?;
    let network = match flags.value("network") {
        None => Network::default(),
        Some(value) => Network::parse(value).ok_or_else(|| InstructionError::Network {
            value: value.to_owned(),
        })?,
    };
    let security = match flags.value("security") {
        None => Security::default(),
        Some(value) => Security::parse(value).ok_or_else(|| InstructionError::Security {
            value: value.to_owned(),
        })?,
    };
    Ok(Run {
        command: command_line(statement),
        mounts,
        network,
        security,
        devices,
    })
}

fn arg(statement: &Statement) -> Result<Arg> {
    let define = |word: &String| {
        let (name, value) = match word.split_once('=') {
            Some(("", _)) => return Err(InstructionError::BlankName { keyword: "ARG" }),
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        Ok(ArgDefinition {
            name: name.to_owned(),
            value,
            description: description(&statement.comments, name),
        })
    };
    some_arguments(statement, "ARG")?
        .iter()
        .map(define)
        .collect::<Result<_>>()
        .map(|args| Arg { args })
}

fn pairs(statement: &Statement, keyword: &'static str) -> Result<Vec<KeyValue>> {
    let pairs = &flagless(statement)?.pairs;
    if pairs.is_empty() {
        return Err(InstructionError::NoArguments { keyword });
    }
    if pairs.iter().any(|pair| pair.key.is_empty()) {
        return Err(InstructionError::BlankName { keyword });
    }
    Ok(pairs.clone())
}

fn expose(statement: &Statement) -> Result<Expose> {
    let mut ports = some_arguments(statement, "EXPOSE")?.to_vec();
    flagless(statement)?;
    ports.sort();
    Ok(Expose { ports })
}

fn volume(statement: &Statement) -> Result<Volume> {
    let words = some_arguments(statement, "VOLUME")?;
    flagless(statement)?;
    let volumes: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
    if volumes.iter().any(String::is_empty) {
        return Err(InstructionError::EmptyVolume);
    }
    Ok(Volume { volumes })
}

fn shell(statement: &Statement) -> Result<Shell> {
    flagless(statement)?;
    let shell = some_arguments(statement, "SHELL")?.to_vec();
    match statement.form {
        Form::Exec => Ok(Shell { shell }),
        Form::Shell => Err(InstructionError::NotJson { keyword: "SHELL" }),
    }
}

fn onbuild(statement: &Statement) -> Result<Onbuild> {
    let trigger = some_arguments(statement, "ONBUILD")?.concat();
    let trigger = trigger.trim().to_uppercase();
    flagless(statement)?;
    match trigger.as_str() {
        "ONBUILD" => return Err(InstructionError::ChainedOnbuild),
        "MAINTAINER" | "FROM" => return Err(InstructionError::Trigger { keyword: trigger }),
        _ => {}
    }
    let text = statement.text.trim_start();
    let mut expression = text
        .get(statement.keyword.len()..)
        .unwrap_or_default()
        .trim_start()
        .to_owned();
    for heredoc in &statement.heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.content);
        expression.push_str(&heredoc.word.name);
    }
    Ok(Onbuild { expression })
}
