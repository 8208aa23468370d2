//! Why a step did not run.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a step did not run to an exit status.
#[derive(Debug, Error)]
pub enum ExecError {
    /// The request contradicts itself or its root filesystem.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The program could not be executed inside the root filesystem.
    #[error("exec: {program:?}: {reason}")]
    Program {
        /// As it was asked for.
        program: String,
        /// Upstream's words for it, such as `executable file not found in $PATH`.
        reason: String,
        /// What a shell would return: 127 not found, 126 not executable.
        code: u32,
    },
    /// A mount failed.
    #[error("failed to mount {target}: {what}: {cause}", target = target.display())]
    Mount {
        /// Path inside the root filesystem.
        target: PathBuf,
        /// What was to be mounted.
        what: String,
        /// The kernel's word.
        cause: io::Error,
    },
    /// The kernel refused something a step needs.
    #[error("failed to {action}: {cause}{hint}")]
    Kernel {
        /// What was tried.
        action: String,
        /// The kernel's word.
        cause: io::Error,
        /// Empty, or a way out, to be read on after the cause.
        hint: String,
    },
    /// The OCI runtime failed before or beside the process.
    #[error("{runtime} failed: {message}")]
    Runtime {
        /// Path of the binary.
        runtime: PathBuf,
        /// Its own last error.
        message: String,
    },
    /// The step was cancelled; nothing of it runs any more.
    #[error("context canceled")]
    Cancelled,
}

/// A request that cannot be carried out by anyone.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum InvalidRequest {
    /// Ids become path names.
    #[error("invalid container id {0:?}: only letters and numbers are allowed")]
    Id(String),
    /// There is nothing to run.
    #[error("no command: the argument list is empty; name a program to run")]
    NoArgs,
    /// There is nothing to join.
    #[error("no process of container {0:?} runs that another one could join")]
    NotRunning(String),
    /// The runtime does not do this.
    #[error(
        "a second process in a container is not supported with an OCI runtime: use the built-in executor"
    )]
    CannotJoin,
    /// There is nowhere to run it.
    #[error("no root filesystem: the request has no mounts for it")]
    NoRootfs,
    /// A NUL byte can be in no argument, variable or path.
    #[error("{what} contains a NUL byte: {value:?}")]
    NulByte {
        /// Which part.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// The user or group is not in the root filesystem.
    #[error("{0}")]
    User(String),
    /// No such resource limit.
    #[error("invalid ulimit type {0:?}: use a name such as nofile, nproc, core or memlock")]
    Rlimit(String),
    /// The working directory leads nowhere.
    #[error("failed to create working directory {path}: {reason}", path = path.display())]
    Cwd {
        /// As asked for.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A path inside a mount's source does not exist.
    #[error("failed to mount {target}: {selector} does not exist in the mount's source", target = target.display(), selector = selector.display())]
    Selector {
        /// Mount point.
        target: PathBuf,
        /// Path inside the source.
        selector: PathBuf,
    },
}
