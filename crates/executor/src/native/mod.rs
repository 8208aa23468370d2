//! Our own executor: namespaces, mounts, cgroups and seccomp without a runtime in between.
//!
//! A step is prepared by a thread of its own in that thread's private namespaces, with ordinary code
//! (`assemble`); then its process is started by a vfork-style clone (`plan`, `kernel::spawn`). All mounts
//! live in the private mount namespace and vanish with it, whatever becomes of the engine.

mod assemble;
mod plan;
mod start;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::run::{Runner, Starter};
use crate::{ExecError, ExecIo, ExecRequest, Executor, ExitStatus};

pub use crate::run::{Options, SandboxNetwork};
pub(crate) use start::{join_and_wait, start_and_wait};

/// Runs steps with kernel calls of our own.
#[derive(Debug)]
pub struct NativeExecutor {
    runner: Runner,
}

impl NativeExecutor {
    /// Prepares the state directory, looks at what the kernel offers and removes cgroups, with all processes
    /// in them, of engines that have died.
    pub fn new(options: Options) -> Result<NativeExecutor, ExecError> {
        Ok(NativeExecutor {
            runner: Runner::new(options, Starter::Kernel)?,
        })
    }
}

#[async_trait]
impl Executor for NativeExecutor {
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
        step: &str,
        request: ExecRequest,
        io: ExecIo,
        cancel: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        self.runner.join(step, request, io, cancel).await
    }
}
