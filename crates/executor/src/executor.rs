//! The one operation of this crate and its result.

use std::fmt;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{ExecError, ExecIo, ExecRequest};

/// Runs steps. Implementations hold no state about a step after its run.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Runs `request` to its end.
    ///
    /// A process that ran is `Ok`, whatever its exit status; `Err` means that it never started, that the
    /// engine failed, or that `cancel` fired, in which case everything the step started is dead on return.
    async fn run(
        &self,
        request: ExecRequest,
        io: ExecIo,
        cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError>;

    /// Runs a further process inside of the step called `step`, which must be running: in its namespaces and
    /// with its files. What `request` says of mounts, network and names of the host is not looked at. The
    /// process ends with the step.
    async fn join(
        &self,
        step: &str,
        request: ExecRequest,
        io: ExecIo,
        cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError>;
}

/// How a step's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// Exit code, 128 plus the signal's number for a process ended by a signal.
    pub code: u32,
    /// Why.
    pub cause: ExitCause,
}

/// Why a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// It exited by itself.
    Exited,
    /// A signal ended it.
    Signal(i32),
    /// It failed and the kernel had killed something in the step for lack of memory.
    OutOfMemory,
}

impl ExitStatus {
    /// Whether the code is zero.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            ExitCause::OutOfMemory => f.write_str("cannot allocate memory"),
            ExitCause::Exited | ExitCause::Signal(_) => write!(f, "exit code: {}", self.code),
        }
    }
}
