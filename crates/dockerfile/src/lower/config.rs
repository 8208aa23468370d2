//! Instructions that only change the image's configuration or the state's settings.

use super::capture::ArgInfo;
use super::dispatch::{Instruction, located};
use super::error::{LowerError, LowerErrorKind};
use super::history::{self, Effect, commit};
use super::names::{Naming, command_text, number_step};
use super::paths::{Ending, PathStyle};
use super::stage::Stage;
use super::variables::{NON_ENV_ARGS, expand};
use super::{Context, checks};
use crate::image::{Empty, Healthcheck};
use crate::instruction::{Arg, Command, CommandLine, Delimiter, Env, Form, Label};
use crate::lint::rules;
use kiln_llb::build::{Constraints, FileActions, MakeDir, Owner, Time};
use std::time::Duration;

pub(crate) fn env(cx: &mut Context<'_>, stage: &mut Stage, at: &Instruction<'_>, env: &Env) {
    let mut line = "ENV".to_string();
    for variable in &env.variables {
        report_delimiter(cx, at, variable.delimiter);
        checks::secret_name(cx, at, "ENV", &variable.key);
        line.push_str(&format!(" {}={}", variable.key, variable.value));
        stage.update(|state| state.add_env(&variable.key, &variable.value));
        stage.image.set_env(&variable.key, &variable.value);
    }
    commit(stage, cx.epoch, line, Effect::None);
}

pub(crate) fn label(cx: &mut Context<'_>, stage: &mut Stage, at: &Instruction<'_>, label: Label) {
    let mut line = "LABEL".to_string();
    for pair in label.labels {
        report_delimiter(cx, at, pair.delimiter);
        line.push_str(&format!(" {}={}", pair.key, pair.value));
        stage.image.config.labels.insert(pair.key, pair.value);
    }
    commit(stage, cx.epoch, line, Effect::None);
}

fn report_delimiter(cx: &mut Context<'_>, at: &Instruction<'_>, delimiter: Delimiter) {
    if delimiter == Delimiter::Space {
        let finding = rules::legacy_key_value_format(at.keyword);
        cx.linter.report(finding, at.location, at.comments);
    }
}

/// `ARG`: what the caller gives counts most, then the default, then the argument of that name before the first stage.
pub(crate) fn arg(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    arg: Arg,
) -> Result<(), LowerError> {
    let mut words = Vec::with_capacity(arg.args.len());
    for mut definition in arg.args {
        checks::secret_name(cx, at, "ARG", &definition.name);
        let given = cx.build_args.get(&definition.name).cloned();
        let mut inherited = false;
        definition.value = match (given, definition.value.take()) {
            (Some(given), _) => Some(given),
            (None, Some(default)) => {
                let lexer = cx.lexer;
                Some(expand(cx, stage, &lexer, &default, at.place())?)
            }
            (None, None) => {
                let global = cx.global_args.get(&definition.name);
                inherited = global.is_some();
                global.map(Into::into)
            }
        };
        let name = definition.name.clone();
        let value = definition.value.clone();
        if let Some(value) = value
            .as_deref()
            .filter(|_| !NON_ENV_ARGS.contains(&name.as_str()))
        {
            stage.update(|state| state.add_env(&name, value));
        }
        stage.capture.used_args.insert(name.clone());
        if !inherited {
            let info = ArgInfo {
                definition: definition.clone(),
                value: value.clone().unwrap_or_default(),
                needs: Default::default(),
                location: at.location,
            };
            stage.capture.args.insert(name.clone(), info);
        }
        stage.args.push(definition);
        words.push(match value {
            Some(value) => format!("{name}={value}"),
            None => name,
        });
    }
    commit(
        stage,
        cx.epoch,
        format!("ARG {}", words.join(" ")),
        Effect::None,
    );
    Ok(())
}

pub(crate) fn workdir(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    dir: &str,
) -> Result<(), LowerError> {
    let style = PathStyle::of(&stage.platform_or(&cx.targets));
    // Only the first one counts: with it, all relative ones after it are right.
    if !stage.workdir_seen && !style.is_abs(dir) {
        let finding = rules::workdir_relative_path(dir);
        cx.linter.report(finding, at.location, at.comments);
    }
    stage.workdir_seen = true;
    let dir = style.resolve(&stage.image.config.working_dir, dir, Ending::Drop)?;
    stage.image.config.working_dir = style.to_native(&dir);
    stage.update(|state| state.dir(&dir));
    let mut effect = Effect::None;
    if dir != "/" {
        make_dir(cx, stage, at, &dir);
        effect = Effect::Layer;
    }
    commit(stage, cx.epoch, format!("WORKDIR {dir}"), effect);
    Ok(())
}

fn make_dir(cx: &mut Context<'_>, stage: &mut Stage, at: &Instruction<'_>, dir: &str) {
    let user = &stage.image.config.user;
    let mut actions = FileActions::new();
    actions.make_dir(MakeDir {
        path: dir.into(),
        mode: 0o755,
        parents: true,
        owner: (!user.is_empty()).then(|| Owner::parse(user)),
        time: Time::from_epoch(cx.epoch),
    });
    let platform = stage.platform_or(&cx.targets);
    let state = stage.state();
    let env = &state.settings().env;
    let naming = Naming {
        multi_platform: cx.options.multi_platform,
        platform: Some(&platform),
        env,
    };
    let name = number_step(stage, &command_text(&cx.lexer, at.source, env), &naming);
    let constraints = located(cx, Constraints::named(name), Some(at.location));
    stage.update(|state| state.file(actions, constraints.platform(platform)));
}

/// Instructions without variables of their own.
pub(crate) fn simple(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    command: Command,
) -> Result<(), LowerError> {
    let config = &mut stage.image.config;
    let line = match command {
        Command::Maintainer(maintainer) => {
            stage.image.author = maintainer.name.clone();
            format!("MAINTAINER {}", maintainer.name)
        }
        Command::Onbuild(onbuild) => {
            config.on_build.push(onbuild.expression);
            return Ok(());
        }
        Command::Cmd(cmd) => {
            checks::used_once(cx, stage, at, "CMD");
            let args = command_line(cx, stage, at, &cmd.command);
            let line = format!("CMD {}", history::quoted_list(&args));
            stage.image.config.cmd = args;
            stage.image.config.args_escaped = true;
            line
        }
        Command::Entrypoint(entrypoint) => {
            checks::used_once(cx, stage, at, "ENTRYPOINT");
            let args = command_line(cx, stage, at, &entrypoint.command);
            let line = format!("ENTRYPOINT {}", history::quoted_list(&args));
            stage.image.config.entrypoint = args;
            // The command of the image below was meant for its own entry point.
            if !stage.last.contains_key("CMD") {
                stage.image.config.cmd.clear();
            }
            line
        }
        Command::Healthcheck(check) => {
            checks::used_once(cx, stage, at, "HEALTHCHECK");
            let check = healthcheck(&check);
            let line = format!("HEALTHCHECK {}", history::healthcheck(&check));
            stage.image.config.healthcheck = Some(check);
            line
        }
        Command::User(user) => {
            config.user = user.user.clone();
            stage.update(|state| state.user(&user.user));
            format!("USER {}", user.user)
        }
        Command::Volume(volume) => {
            if volume.volumes.iter().any(String::is_empty) {
                return Err(LowerErrorKind::EmptyVolume.into());
            }
            let line = format!("VOLUME {}", history::plain_list(&volume.volumes));
            config
                .volumes
                .extend(volume.volumes.into_iter().map(|path| (path, Empty {})));
            line
        }
        Command::Stopsignal(stop) => {
            if !is_signal(&stop.signal) {
                return Err(LowerErrorKind::Signal(stop.signal).into());
            }
            config.stop_signal = stop.signal.clone();
            format!("STOPSIGNAL {}", stop.signal)
        }
        Command::Shell(shell) => {
            let line = format!("SHELL {}", history::plain_list(&shell.shell));
            config.shell = shell.shell;
            line
        }
        // All others have functions of their own.
        _ => return Ok(()),
    };
    commit(stage, cx.epoch, line, Effect::None);
    Ok(())
}

/// The arguments of a command line; the shell form runs in the stage's shell.
fn command_line(
    cx: &mut Context<'_>,
    stage: &Stage,
    at: &Instruction<'_>,
    line: &CommandLine,
) -> Vec<String> {
    if line.form == Form::Exec {
        return line.args.clone();
    }
    if stage.image.config.shell.is_empty() {
        let finding = rules::json_args_recommended(at.keyword);
        cx.linter.report(finding, at.location, at.comments);
    }
    in_shell(stage, &line.args)
}

/// Puts the stage's shell in front of a command.
pub(crate) fn in_shell(stage: &Stage, args: &[String]) -> Vec<String> {
    let shell = &stage.image.config.shell;
    let mut command: Vec<String> = match (shell.is_empty(), stage.image.os.as_str()) {
        (false, _) => shell.clone(),
        (true, "windows") => ["cmd", "/S", "/C"].map(Into::into).to_vec(),
        (true, _) => ["/bin/sh", "-c"].map(Into::into).to_vec(),
    };
    command.push(args.join(" "));
    command
}

fn healthcheck(check: &crate::instruction::Healthcheck) -> Healthcheck {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Healthcheck {
        test: check.test.clone(),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: check.retries.into(),
    }
}

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "UNUSED", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
    "RTMAX",
];

fn is_signal(signal: &str) -> bool {
    if let Ok(number) = signal.parse::<i64>() {
        return number != 0;
    }
    let name = signal.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    // Real-time signals are counted from either end: RTMIN+1 to RTMIN+15, RTMAX-1 to RTMAX-14.
    let real_time = |prefix: &str, most: u32| {
        let offset = name
            .strip_prefix(prefix)
            .and_then(|it| it.parse::<u32>().ok());
        offset.is_some_and(|it| (1..=most).contains(&it))
    };
    SIGNALS.contains(&name) || real_time("RTMIN+", 15) || real_time("RTMAX-", 14)
}
