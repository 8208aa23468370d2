//! Steps run by an OCI runtime: runc, crun, or any binary with their command line.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::native::Options;
use crate::{ExecError, ExecIo, ExecRequest, Executor, ExitStatus};

/// Runs steps through an OCI runtime binary.
#[derive(Debug)]
pub struct OciExecutor {
    runtime: PathBuf,
}

impl OciExecutor {
    /// Finds the runtime `binary`, a path or a name to be looked up in `PATH`.
    pub fn new(binary: impl Into<PathBuf>, _options: Options) -> Result<OciExecutor, ExecError> {
        Ok(OciExecutor {
            runtime: binary.into(),
        })
    }
}

#[async_trait]
impl Executor for OciExecutor {
    async fn run(
        &self,
        _: ExecRequest,
        _: ExecIo,
        _: CancellationToken,
    ) -> Result<ExitStatus, ExecError> {
        Err(ExecError::Runtime {
            runtime: self.runtime.clone(),
            message: "not available".to_owned(),
        })
    }
}
