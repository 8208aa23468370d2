//! From a statement to its typed instruction.

use super::flags::{Flags, Holds};
use super::{
    Add, Arg, ArgDefinition, Cmd, Command, CommandLine, Copy, Device, Entrypoint, Env, Expose,
    Form, Healthcheck, InlineFile, InstructionError, KeyValue, Label, Located, Maintainer,
    MountFlag, Network, Onbuild, Run, Security, Shell, SourceContent, Sources, Stopsignal, User,
    Volume, Workdir,
};
use crate::heredoc;
use crate::parse::{Alias, Stage, Statement};
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
        "from" => return from(statement).map(|stage| Instruction::From(Box::new(stage))),
        "add" => Command::Add(add(&statement)?),
        "arg" => Command::Arg(arg(&statement)?),
        "cmd" => Command::Cmd(Cmd {
            command: flagless(&statement).map(command_line)?,
        }),
        "copy" => Command::Copy(copy(&statement)?),
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
        // The only one that has never looked at its flags.
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

fn from(statement: Statement) -> Result<Stage> {
    let (base, alias) = match statement.args.as_slice() {
        [base] => (base.clone(), None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (
            base.clone(),
            Some(Alias {
                keyword: keyword.clone(),
                name: name.clone(),
            }),
        ),
        _ => return Err(InstructionError::FromArguments),
    };
    let name = alias.as_ref().map(|alias| alias.name.to_lowercase());
    if let (Some(name), Some(alias)) = (&name, &alias)
        && !is_stage_name(name)
    {
        return Err(InstructionError::StageName {
            name: alias.name.clone(),
        });
    }
    let flags = Flags::read(&statement.flags, &[("platform", Holds::Value)])?;
    Ok(Stage {
        description: name
            .as_deref()
            .and_then(|name| description(&statement.comments, name)),
        name,
        base,
        platform: Some(flags.text("platform")).filter(|platform| !platform.is_empty()),
        commands: Vec::new(),
        source: statement.text.trim().to_owned(),
        keyword: statement.keyword,
        alias,
        location: statement.location,
        comments: statement.comments,
    })
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'))
}

/// The description of the stage or argument of that name among the comments above it.
fn description(comments: &[String], name: &str) -> Option<String> {
    comments
        .iter()
        .find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '))
        .map(str::to_owned)
}

fn add(statement: &Statement) -> Result<Add> {
    operands(statement, "ADD")?;
    let flags = Flags::read(
        &statement.flags,
        &[
            ("chown", Holds::Value),
            ("chmod", Holds::Value),
            ("link", Holds::Bool),
            ("keep-git-dir", Holds::Bool),
            ("checksum", Holds::Value),
            ("unpack", Holds::Bool),
            ("exclude", Holds::Values),
        ],
    )?;
    Ok(Add {
        sources: sources(statement, "ADD")?,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.bool("link").unwrap_or_default(),
        exclude: flags.values("exclude").map(str::to_owned).collect(),
        keep_git_dir: flags.bool("keep-git-dir"),
        checksum: flags.text("checksum"),
        unpack: flags.bool("unpack"),
    })
}

fn copy(statement: &Statement) -> Result<Copy> {
    operands(statement, "COPY")?;
    let flags = Flags::read(
        &statement.flags,
        &[
            ("chown", Holds::Value),
            ("from", Holds::Value),
            ("chmod", Holds::Value),
            ("link", Holds::Bool),
            ("exclude", Holds::Values),
            ("parents", Holds::Bool),
        ],
    )?;
    Ok(Copy {
        sources: sources(statement, "COPY")?,
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.bool("link").unwrap_or_default(),
        exclude: flags.values("exclude").map(str::to_owned).collect(),
        parents: flags.bool("parents").unwrap_or_default(),
    })
}

/// The sources and the destination.
fn operands<'a>(
    statement: &'a Statement,
    keyword: &'static str,
) -> Result<(&'a [String], &'a String)> {
    match statement.args.split_last() {
        Some((destination, sources)) if !sources.is_empty() => Ok((sources, destination)),
        _ => Err(InstructionError::NoDestination { keyword }),
    }
}

fn sources(statement: &Statement, keyword: &'static str) -> Result<Sources> {
    let (words, destination) = operands(statement, keyword)?;
    if let Ok(Some(_)) = heredoc::parse_word(destination) {
        return Err(InstructionError::HeredocDestination { keyword });
    }
    let mut sources = Sources {
        destination: destination.clone(),
        ..Sources::default()
    };
    for word in words {
        match heredoc::parse_word(word) {
            Ok(Some(heredoc)) => sources.contents.push(content(statement, heredoc)),
            Ok(None) | Err(_) => sources.paths.push(word.clone()),
        }
    }
    Ok(sources)
}

fn content(statement: &Statement, word: heredoc::HeredocWord) -> SourceContent {
    // Of several heredocs with one name the last one fills all of them.
    let found = statement
        .heredocs
        .iter()
        .rfind(|heredoc| heredoc.word.name == word.name);
    let written = found
        .map(|heredoc| heredoc.content.as_str())
        .unwrap_or_default();
    let data = if word.chomp {
        heredoc::chomp(written)
    } else {
        written.to_owned()
    };
    SourceContent {
        path: word.name,
        data,
        expand: word.expand,
    }
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
    let network = flags
        .value("network")
        .map_or(Ok(Network::Default), |value| {
            Network::parse(value).ok_or_else(|| InstructionError::Network {
                value: value.to_owned(),
            })
        });
    let security = flags
        .value("security")
        .map_or(Ok(Security::Sandbox), |value| {
            Security::parse(value).ok_or_else(|| InstructionError::Security {
                value: value.to_owned(),
            })
        });
    Ok(Run {
        command: command_line(statement),
        devices: flags
            .values("device")
            .map(Device::parse)
            .collect::<Result<_>>()?,
        mounts: flags
            .values("mount")
            .map(MountFlag::parse)
            .collect::<std::result::Result<_, _>>()?,
        network: network?,
        security: security?,
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
    let trigger = some_arguments(statement, "ONBUILD")?
        .concat()
        .to_uppercase();
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
