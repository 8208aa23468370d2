//! The rules about the instructions of one stage that need a little of what lowering knows.

use super::{Linter, rules};
use crate::instruction::{Command, CommandLine, Delimiter, Form, KeyValue, Located};
use crate::position::Location;

/// What has been seen of a stage.
#[derive(Debug, Clone, Default)]
pub struct StageLint {
    cmd: Option<Location>,
    entrypoint: Option<Location>,
    healthcheck: Option<Location>,
    workdir: Option<Location>,
}

/// What is known of a stage where an instruction stands.
#[derive(Debug, Clone, Copy)]
pub struct StageFacts {
    /// Whether a shell has been chosen, by `SHELL` or by the base image: the author knows what the shell form means.
    pub has_shell: bool,
    /// Whether the stage runs on Windows, where absolute paths look different.
    pub windows: bool,
}

impl StageLint {
    /// Judges the next instruction of the stage, with its variables expanded.
    pub fn check(&mut self, command: &Located<Command>, facts: StageFacts, linter: &mut Linter) {
        let Located {
            location, comments, ..
        } = command;
        match &command.value {
            Command::Cmd(cmd) => {
                used_once(&mut self.cmd, command, linter);
                check_form(&cmd.command, command, facts, linter);
            }
            Command::Entrypoint(entrypoint) => {
                used_once(&mut self.entrypoint, command, linter);
                check_form(&entrypoint.command, command, facts, linter);
            }
            Command::Healthcheck(_) => used_once(&mut self.healthcheck, command, linter),
            Command::Workdir(workdir) => {
                // Later relative ones are as good as the first one is.
                let is_first = self.workdir.replace(*location).is_none();
                if is_first && !is_absolute(&workdir.path, facts) {
                    linter.report(
                        rules::workdir_relative_path(&workdir.path),
                        *location,
                        comments,
                    );
                }
            }
            Command::Env(env) => {
                for variable in &env.variables {
                    check_delimiter(variable, command, linter);
                    if is_secret_name(&variable.key) {
                        linter.report(
                            rules::secrets_used_in_arg_or_env("ENV", &variable.key),
                            *location,
                            comments,
                        );
                    }
                }
            }
            Command::Label(label) => {
                for label in &label.labels {
                    check_delimiter(label, command, linter);
                }
            }
            Command::Arg(arg) => {
                for arg in arg.args.iter().filter(|arg| is_secret_name(&arg.name)) {
                    linter.report(
                        rules::secrets_used_in_arg_or_env("ARG", &arg.name),
                        *location,
                        comments,
                    );
                }
            }
            _ => {}
        }
    }
}

/// The one before is the one that has no effect, so it is where the warning goes.
fn used_once(previous: &mut Option<Location>, command: &Located<Command>, linter: &mut Linter) {
    if let Some(previous) = previous.replace(command.location) {
        linter.report(
            rules::multiple_instructions_disallowed(&command.keyword),
            previous,
            &command.comments,
        );
    }
}

fn check_form(
    line: &CommandLine,
    command: &Located<Command>,
    facts: StageFacts,
    linter: &mut Linter,
) {
    if line.form == Form::Shell && !facts.has_shell {
        linter.report(
            rules::json_args_recommended(&command.keyword),
            command.location,
            &command.comments,
        );
    }
}

fn check_delimiter(pair: &KeyValue, command: &Located<Command>, linter: &mut Linter) {
    if pair.delimiter == Delimiter::Space {
        linter.report(
            rules::legacy_key_value_format(&command.keyword),
            command.location,
            &command.comments,
        );
    }
}

fn is_absolute(path: &str, facts: StageFacts) -> bool {
    if !facts.windows {
        return path.starts_with('/');
    }
    let without_drive = match path.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => &path[2..],
        _ => path,
    };
    without_drive.starts_with(['/', '\\'])
}

/// Whether a name speaks of a secret: one of its parts between underscores does, and none says that it is harmless.
pub fn is_secret_name(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let has = |parts: &[&str]| {
        name.split('_')
            .any(|part| parts.iter().any(|known| part.eq_ignore_ascii_case(known)))
    };
    has(&SECRET) && !has(&HARMLESS)
}
