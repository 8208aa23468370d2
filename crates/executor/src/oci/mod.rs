//! Steps run by an OCI runtime: runc, crun, or any binary with their command line.

mod report;
mod spec;
mod start;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::run::{Options, Runner, Starter};
use crate::{ExecError, ExecIo, ExecRequest, Executor, ExitStatus, InvalidRequest};

pub(crate) use start::start_and_wait;

/// Runs steps through an OCI runtime binary.
#[derive(Debug)]
pub struct OciExecutor {
    runner: Runner,
}

/// A runtime and what it can do.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) binary: PathBuf,
    /// Whether it can leave a container's cgroup for us to look at.
    pub(crate) keep: Keep,
}

/// Whether a runtime knows `run --keep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Known,
    Unknown,
}

impl OciExecutor {
    /// Finds the runtime `binary`, a path or a name to be looked up in `PATH`, and prepares as
    /// [`crate::native::NativeExecutor::new`] does.
    pub fn new(binary: impl Into<PathBuf>, options: Options) -> Result<OciExecutor, ExecError> {
        let binary = find(&binary.into())?;
        let help = Command::new(&binary)
            .args(["run", "--help"])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| ExecError::Runtime {
                runtime: binary.clone(),
                message: format!("cannot be executed: {error}"),
            })?;
        let keep = match String::from_utf8_lossy(&help.stdout).contains("--keep") {
            true => Keep::Known,
            false => Keep::Unknown,
        };
        Ok(OciExecutor {
            runner: Runner::new(options, Starter::Runtime(Runtime { binary, keep }))?,
        })
    }
}

#[async_trait]
impl Executor for OciExecutor {
    async fn run(
        &self,
        request: ExecRequest,
        io: ExecIo,
        cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        self.runner.run(request, io, cancel).await
    }

    async fn join(
        &self,
        _step: &str,
        _request: ExecRequest,
        _io: ExecIo,
        _cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        Err(InvalidRequest::CannotJoin.into())
    }
}

fn find(binary: &Path) -> Result<PathBuf, ExecError> {
    if binary.components().count() > 1 {
        return Ok(binary.to_owned());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(binary))
        .find(|path| path.is_file())
        .ok_or_else(|| ExecError::Kernel {
            action: format!("find {} binary", binary.display()),
            cause: io::ErrorKind::NotFound.into(),
            hint: "; install it, give its path, or use the built-in executor".to_owned(),
        })
}
