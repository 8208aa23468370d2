//! `RUN`.

use super::copy::inline_file;
use super::dispatch::{COMMAND, Instruction, constraints};
use super::error::{LowerError, LowerErrorKind};
use super::history::{Effect, commit};
use super::names::{Naming, command_text, number_step};
use super::stage::{Stage, StageId};
use super::{Context, config, mounts};
use crate::heredoc::{chomp, parse_word};
use crate::instruction::{ArgDefinition, Form, InlineFile, Network, Run, Security};
use crate::shell::{Quotes, Unset, Variables};
use kiln_llb::build::{self, Access, Env, Mount, MountKind, State};
use kiln_llb::{caps, path, pb};
use std::borrow::Cow;

/// Where the file of a heredoc with its own interpreter is mounted.
const HEREDOC_DIR: &str = "/dev/pipes/";

pub(crate) fn run(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    run: &Run,
    sources: &[StageId],
) -> Result<(), LowerError> {
    // A process may look at any file.
    stage.use_path("/");
    let mut script = script(cx, stage, at, run)?;
    if run.command.form == Form::Shell {
        // Also a file with its own interpreter is started by the shell, like everything else.
        script.args = config::in_shell(stage, &script.args);
    }
    let mounted = mounts::mounts(cx, stage, at, run, sources)?;
    let mut process = build::Run {
        args: script.args.clone(),
        proxy: cx.proxy.clone(),
        mounts: script.mount.into_iter().chain(mounted.files).collect(),
        secrets: mounted.secrets,
        ssh: mounted.ssh,
        devices: devices(cx, run),
        ..Default::default()
    };
    if cx.options.shm_size > 0 && cx.options.caps.supports(caps::EXEC_MOUNT_TMPFS_SIZE) {
        let mut shm = Mount::new("/dev/shm", State::scratch());
        shm.kind = MountKind::Tmpfs {
            size: cx.options.shm_size,
        };
        process.mounts.push(shm);
    }
    let state = stage.state();
    process.settings = Some(settings(cx, &state, run).settings().clone());
    let env = &state.settings().env;
    let masked = Masked {
        env,
        secret_names: mounted.secret_names,
    };
    let lexer = crate::shell::Lexer {
        quotes: Quotes::Keep,
        unset: Unset::Keep,
        ..cx.lexer
    };
    let naming = Naming {
        multi_platform: cx.options.multi_platform,
        platform: state.settings().platform.as_ref(),
        env,
    };
    let name = number_step(
        stage,
        &command_text(&lexer, &script.shown, &masked),
        &naming,
    );
    process.constraints = constraints(cx, stage, name, at.location).describe(COMMAND, at.source);
    if let Some(resources) = &cx.options.linux_resources
        && cx.options.caps.supports(caps::EXEC_META_LINUX_RESOURCES)
    {
        process.constraints = process.constraints.linux_resources(resources.clone());
    }
    stage.state = Some(state.run(process).root);
    let line = format!("RUN {}", with_args(&script.args, &stage.args, env));
    commit(stage, cx.epoch, line, Effect::MarkedLayer);
    Ok(())
}

/// What runs.
struct Script {
    args: Vec<String>,
    /// The instruction's text for people.
    shown: String,
    /// The file that is run.
    mount: Option<Mount>,
}

fn script(
    cx: &Context<'_>,
    stage: &Stage,
    at: &Instruction<'_>,
    run: &Run,
) -> Result<Script, LowerError> {
    let line = &run.command;
    let plain = |args: Vec<String>| Script {
        args,
        shown: at.source.to_string(),
        mount: None,
    };
    let Some(first) = line.files.first() else {
        return Ok(plain(line.args.clone()));
    };
    let [text] = line.args.as_slice() else {
        return Err(LowerErrorKind::RunHeredoc(super::history::plain_list(&line.args)).into());
    };
    if line.form == Form::Exec {
        return Err(LowerErrorKind::RunHeredoc(super::history::plain_list(&line.args)).into());
    }
    if !matches!(parse_word(text), Ok(Some(_))) {
        return Ok(plain(vec![rejoin(text, &line.files)]));
    }
    let data = if first.chomp {
        chomp(&first.data)
    } else {
        first.data.clone()
    };
    let shown = format!("{} ({})", at.source, summary(&first.data));
    if stage.image.os == "windows" || !data.starts_with("#!") {
        return Ok(Script {
            args: vec![data],
            shown,
            mount: None,
        });
    }
    let file = inline_file(&first.name, 0o755, data, &stage.platform_or(&cx.targets));
    let mut mount = Mount::new(HEREDOC_DIR, file);
    mount.selector = "/".into();
    mount.access = Access::ReadOnly;
    Ok(Script {
        args: vec![path::join([HEREDOC_DIR, first.name.as_str()])],
        shown,
        mount: Some(mount),
    })
}

/// The command with its heredocs, for a shell that understands them.
fn rejoin(text: &str, files: &[InlineFile]) -> String {
    let mut script = text.to_string();
    for file in files {
        script.push('\n');
        script.push_str(&file.data);
        script.push_str(&file.name);
    }
    script
}

fn summary(document: &str) -> String {
    let document = document.trim().replace("\r\n", "\n");
    match document.split_once('\n') {
        Some((first, _)) => format!("{first}..."),
        None => document,
    }
}

fn devices(cx: &Context<'_>, run: &Run) -> Vec<pb::CdiDevice> {
    if !cx.options.caps.supports(caps::EXEC_META_CDI) {
        return Vec::new();
    }
    let asked = run.devices.iter().map(|device| pb::CdiDevice {
        name: device.name.clone(),
        optional: !device.required,
    });
    cx.options.devices.iter().cloned().chain(asked).collect()
}

/// The state with what only this process gets.
fn settings(cx: &Context<'_>, state: &State, run: &Run) -> State {
    let mut state = state.security(match run.security {
        Security::Sandbox => pb::SecurityMode::Sandbox,
        Security::Insecure => pb::SecurityMode::Insecure,
    });
    match run.network {
        Network::Default => {}
        Network::None => state = state.network(pb::NetMode::None),
        Network::Host => state = state.network(pb::NetMode::Host),
    }
    let supports = |id| cx.options.caps.supports(id);
    if supports(caps::EXEC_META_ULIMIT) {
        let limits = cx.options.ulimits.iter().cloned();
        state = limits.fold(state, |state, limit| state.add_ulimit(limit));
    }
    for (host, ip) in &cx.options.extra_hosts {
        state = state.add_extra_host(host, ip);
    }
    if !cx.options.cgroup_parent.is_empty() && supports(caps::EXEC_META_CGROUP_PARENT) {
        state = state.cgroup_parent(&cx.options.cgroup_parent);
    }
    state
}

/// Variables for showing a command: that of a secret is shown as filled in.
struct Masked<'a> {
    env: &'a Env,
    secret_names: Vec<String>,
}

impl Variables for Masked<'_> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        if self.secret_names.iter().any(|secret| secret == name) {
            return Some(Cow::Borrowed("****"));
        }
        self.env.get(name).map(Cow::Borrowed)
    }
}

/// The command with the arguments it was run with in front: `|2 A=1 B=2 /bin/sh -c …`.
fn with_args(args: &[String], declared: &[ArgDefinition], env: &Env) -> String {
    let mut assignments: Vec<(&str, String)> = Vec::new();
    for arg in declared {
        let value = env
            .get(&arg.name)
            .or(arg.value.as_deref())
            .unwrap_or_default();
        let assignment = format!("{}={value}", arg.name);
        match assignments.iter_mut().find(|(name, _)| *name == arg.name) {
            Some((_, known)) => *known = assignment,
            None => assignments.push((&arg.name, assignment)),
        }
    }
    let mut words: Vec<String> = Vec::new();
    if !assignments.is_empty() {
        words.push(format!("|{}", assignments.len()));
    }
    words.extend(assignments.into_iter().map(|(_, assignment)| assignment));
    words.extend(args.iter().cloned());
    words.join(" ")
}
