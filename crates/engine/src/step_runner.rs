//! The executor, made when the first step needs it: preparing control groups
//! takes longer than a build in which everything is cached.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use kiln_executor::native::{NativeExecutor, Options};
use kiln_executor::oci::OciExecutor;
use kiln_executor::{ExecError, Executor};

use crate::options::ExecutorChoice;

/// What runs steps.
pub(crate) struct StepRunner {
    choice: ExecutorChoice,
    state: PathBuf,
    executor: OnceLock<Arc<dyn Executor>>,
}

impl StepRunner {
    /// An executor of this kind with its state in a directory of its own.
    pub(crate) fn new(choice: ExecutorChoice, state: PathBuf) -> Self {
        Self {
            choice,
            state,
            executor: OnceLock::new(),
        }
    }

    /// The executor. Of two first steps at once one makes it; the other's is
    /// dropped.
    pub(crate) fn get(&self) -> Result<Arc<dyn Executor>, ExecError> {
        if let Some(executor) = self.executor.get() {
            return Ok(executor.clone());
        }
        let options = Options::new(&self.state);
        let executor: Arc<dyn Executor> = match &self.choice {
            ExecutorChoice::Native => Arc::new(NativeExecutor::new(options)?),
            ExecutorChoice::OciRuntime(binary) => Arc::new(OciExecutor::new(binary, options)?),
        };
        Ok(self.executor.get_or_init(|| executor).clone())
    }
}
