//! Which engine a command talks to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kiln_client::Address;

use crate::arguments::{Arguments, Command, DaemonArguments, DebugCommand};
use crate::failure::Failure;

/// The address that stands for the engine in this process.
const EMBEDDED: &str = "embedded:";

/// Where a daemon of the system listens.
const SYSTEM_SOCKET: &str = "/run/buildkit/buildkitd.sock";

/// Where a daemon of the user listens, below `$XDG_RUNTIME_DIR`.
const USER_SOCKET: &str = "buildkit/buildkitd.sock";

/// Which engine a command talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one in this process.
    Embedded,
    /// A daemon.
    Daemon(Address),
    /// None.
    Nothing,
}

/// What the choice depends on, beside the command line.
pub(crate) struct Surroundings<'a> {
    /// Environment variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether something answers at a socket.
    pub(crate) answers: &'a dyn Fn(&Path) -> bool,
}

impl Surroundings<'static> {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            variable: &|name| std::env::var_os(name),
            answers: &kiln_client::answers,
        }
    }
}

/// The engine for this command: the one that `--addr` names, else the one of
/// `$BUILDKIT_HOST`, else a daemon that answers at its usual socket, else the
/// engine in this process. `--root`, `--oci-worker-binary` and
/// `--registry-config-path` are flags of the last one and choose it.
pub(crate) fn choose(arguments: &Arguments, around: &Surroundings<'_>) -> Result<Target, Failure> {
    if let Command::DialStdio | Command::Debug(DebugCommand::DumpLlb(_)) = arguments.command {
        return Ok(Target::Nothing);
    }
    if let Command::Debug(DebugCommand::DumpMetadata) = arguments.command {
        return Ok(Target::Embedded);
    }
    let given = arguments.daemon.addr.as_deref();
    let given = given.filter(|address| !address.is_empty());
    match (given, flag_of_embedded(arguments)) {
        (Some(EMBEDDED), _) | (None, Some(_)) => return Ok(Target::Embedded),
        (Some(address), Some(flag)) => {
            return Err(Failure::usage(format!(
                "{flag} belongs to the engine in this process, not to the daemon at {address}; \
                 leave out one of both"
            )));
        }
        (Some(address), None) => return daemon(address),
        (None, None) => {}
    }
    let host = (around.variable)("BUILDKIT_HOST").filter(|host| !host.is_empty());
    if let Some(host) = host {
        return match host.to_str() {
            Some(EMBEDDED) => Ok(Target::Embedded),
            Some(address) => daemon(address),
            None => Err(Failure::usage("BUILDKIT_HOST is not text")),
        };
    }
    let socket = sockets(around)
        .into_iter()
        .find(|socket| (around.answers)(socket));
    Ok(socket.map_or(Target::Embedded, |socket| {
        Target::Daemon(Address::Unix(socket))
    }))
}

/// The daemon that is meant where only a daemon can be meant.
pub(crate) fn daemon_of(arguments: &DaemonArguments) -> Result<Address, Failure> {
    let around = Surroundings::of_process();
    let host = || (around.variable)("BUILDKIT_HOST")?.into_string().ok();
    let given = arguments.addr.clone().or_else(host);
    if let Some(address) = given.filter(|address| !address.is_empty()) {
        return address.parse().map_err(Failure::usage);
    }
    let mut sockets = sockets(&around).into_iter();
    let socket = sockets.find(|socket| (around.answers)(socket));
    Ok(Address::Unix(
        socket.unwrap_or_else(|| SYSTEM_SOCKET.into()),
    ))
}

fn flag_of_embedded(arguments: &Arguments) -> Option<&'static str> {
    let flags = [
        ("--root", arguments.root.is_some()),
        ("--oci-worker-binary", arguments.oci_worker_binary.is_some()),
        (
            "--registry-config-path",
            !arguments.registry_config_path.is_empty(),
        ),
    ];
    let mut given = flags.into_iter().filter(|(_, is_given)| *is_given);
    given.next().map(|(flag, _)| flag)
}

fn daemon(address: &str) -> Result<Target, Failure> {
    match address.parse() {
        Ok(address) => Ok(Target::Daemon(address)),
        Err(error) => Err(Failure::usage(format!(
            "{error}; {EMBEDDED} stands for the engine in this process"
        ))),
    }
}

fn sockets(around: &Surroundings<'_>) -> Vec<PathBuf> {
    let runtime = (around.variable)("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let user = runtime.map(|dir| PathBuf::from(dir).join(USER_SOCKET));
    user.into_iter().chain([SYSTEM_SOCKET.into()]).collect()
}
