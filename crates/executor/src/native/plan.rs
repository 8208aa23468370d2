//! From a request and its view to what the child process is told.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{Gid, Uid};
use rustix::thread::CapabilitySet;

use super::assemble::View;
use crate::capability::{self, Capabilities};
use crate::cgroup::StepCgroup;
use crate::kernel::spawn::{ControllingTerminal, Plan, ProcessNamespace, SpawnError, Stage};
use crate::run::Settings;
use crate::run::step::kernel;
use crate::view::system::{MASKED_PATHS, READ_ONLY_PATHS, normal};
use crate::{ExecError, ExecRequest, InvalidRequest, Security, environment, rlimit, seccomp};

/// The first three descriptors.
pub(super) enum Streams {
    Given([OwnedFd; 3]),
    Terminal([OwnedFd; 3]),
}

/// Everything the child needs, made before it exists.
pub(super) fn plan(
    settings: &Settings,
    request: &ExecRequest,
    view: &View,
    cgroup: &mut StepCgroup,
    streams: Streams,
) -> Result<Plan, ExecError> {
    let identity = &view.identity;
    let mut capabilities =
        Capabilities::of(request.security).map_err(|error| kernel("read capabilities", error))?;
    if !settings.cgroups.controls_devices() && !settings.in_user_namespace {
        // Without device rules a device node is as good as the device.
        capabilities.granted -= CapabilitySet::MKNOD;
    }
    let (masked, read_only): (&[&str], &[&str]) = match request.security {
        Security::Sandbox => (&MASKED_PATHS, &READ_ONLY_PATHS),
        Security::Insecure => (&[], &[]),
    };
    let (stdio, controlling_terminal) = match streams {
        Streams::Given(stdio) => (stdio, ControllingTerminal::None),
        Streams::Terminal(stdio) => (stdio, ControllingTerminal::Stdin),
    };
    let env = environment::complete(&request.env, &identity.home);
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let program = request.args.first().map_or("", String::as_str);
    Ok(Plan {
        processes: ProcessNamespace::New,
        old_root: None,
        into_cgroup: cgroup.into.take(),
        join_cgroups: std::mem::take(&mut cgroup.join),
        cgroup_view: cgroup_view(settings, request),
        masked: strings("path", masked.iter().copied())?,
        read_only: strings("path", read_only.iter().copied())?,
        stdio,
        controlling_terminal,
        rlimits: rlimit::parse(&request.rlimits)?,
        cwd: string(
            "working directory",
            normal(&request.cwd).to_string_lossy().as_ref(),
        )?,
        uid: Uid::from_raw(identity.uid),
        gid: Gid::from_raw(identity.gid),
        groups: settings.may_set_groups.then(|| {
            identity
                .groups
                .iter()
                .map(|gid| Gid::from_raw(*gid))
                .collect()
        }),
        dropped: capability::each()
            .filter(|one| !capabilities.granted.contains(*one))
            .filter(|one| rustix::thread::capability_is_in_bounding_set(*one).unwrap_or(false))
            .collect(),
        capabilities,
        filter: (request.security == Security::Sandbox && settings.seccomp)
            .then(seccomp::default_filter),
        engine: settings
            .engine
            .try_clone()
            .map_err(|error| kernel("duplicate a descriptor", error))?,
        programs: strings(
            "program",
            candidates(program, path).iter().map(String::as_str),
        )?,
        args: strings("argument", request.args.iter().map(String::as_str))?,
        env: strings("environment variable", env.iter().map(String::as_str))?,
    })
}

fn cgroup_view(settings: &Settings, request: &ExecRequest) -> Option<MountFlags> {
    let replaced = request
        .mounts
        .iter()
        .any(|mount| normal(&mount.target) == Path::new("/sys/fs/cgroup"));
    let sealed = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    (settings.cgroups.is_unified() && !replaced).then_some(match request.security {
        Security::Sandbox => sealed | MountFlags::RDONLY,
        Security::Insecure => sealed,
    })
}

/// The paths that `program` may be found at.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    if program.is_empty() {
        return Vec::new();
    }
    path.split(':')
        .map(|dir| format!("{}/{program}", if dir.is_empty() { "." } else { dir }))
        .collect()
}

fn strings<'a>(
    what: &'static str,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<CString>, ExecError> {
    values
        .into_iter()
        .map(|value| string(what, value))
        .collect()
}

fn string(what: &'static str, value: &str) -> Result<CString, ExecError> {
    CString::new(value).map_err(|_| {
        InvalidRequest::NulByte {
            what,
            value: value.to_owned(),
        }
        .into()
    })
}

/// What a failed start means to the user. Called with the step's root filesystem as root directory.
pub(super) fn explain(error: SpawnError, request: &ExecRequest) -> ExecError {
    let SpawnError { stage, errno } = error;
    let action = match stage {
        Stage::Exec => return explain_exec(errno, request),
        Stage::WorkingDirectory => {
            let reason = io::Error::from(errno).to_string();
            return InvalidRequest::Cwd {
                path: request.cwd.clone(),
                reason,
            }
            .into();
        }
        Stage::EngineGone => return ExecError::Cancelled,
        Stage::Clone => "start a process in a new process namespace",
        Stage::JoinCgroup => "enter the step's cgroup",
        Stage::CgroupNamespace => "make a cgroup namespace",
        Stage::MountProc => "mount /proc",
        Stage::MountCgroup => "mount /sys/fs/cgroup",
        Stage::LeaveRoot => "leave the host's root directory",
        Stage::MaskPath => "mask kernel files",
        Stage::ReadOnlyPath => "make kernel files read-only",
        Stage::Session => "start a session",
        Stage::Rlimit => {
            "set resource limits; raising one above the engine's own needs CAP_SYS_RESOURCE"
        }
        Stage::Stdio => "connect standard streams",
        Stage::Seccomp => "install the seccomp filter",
        Stage::Bounding => "drop capabilities",
        Stage::Groups => "set groups; the ids must exist in the user namespace",
        Stage::User => "change user; the ids must exist in the user namespace",
        Stage::Capabilities => "set capabilities",
    };
    kernel(action, errno)
}

fn explain_exec(errno: Errno, request: &ExecRequest) -> ExecError {
    let program = request.args.first().cloned().unwrap_or_default();
    let (reason, code) = match errno {
        Errno::NOENT if !program.contains('/') => {
            ("executable file not found in $PATH".to_owned(), 127)
        }
        Errno::NOENT if normal(&request.cwd).join(&program).exists() => (
            "no such file or directory: the file is there, the interpreter it names is not"
                .to_owned(),
            127,
        ),
        Errno::NOENT => (format!("stat {program}: no such file or directory"), 127),
        Errno::ACCESS => ("permission denied".to_owned(), 126),
        Errno::NOEXEC => ("exec format error".to_owned(), 126),
        Errno::TOOBIG => ("argument list too long".to_owned(), 126),
        other => (io::Error::from(other).to_string(), 126),
    };
    ExecError::Program {
        program,
        reason,
        code,
    }
}
