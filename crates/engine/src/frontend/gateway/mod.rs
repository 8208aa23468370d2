//! The gateway: a frontend outside of the engine, in a container or in a
//! client, builds over `moby.buildkit.v1.frontend.LLBBridge`.
//!
//! A [`Gateway`] is one frontend's conversation with one build. The ids that
//! it hands out name definitions, which are computed when somebody needs the
//! files. Protobuf types of that API stop in this module.

mod container;
mod containers;
mod features;
mod files;
pub(crate) mod image;
mod refs;
mod registry;
mod resolve;
mod returned;
mod service;
mod solve;
mod stat;
mod stdio;
mod warning;

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_llb::Definition;
use tokio::sync::SetOnce;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::result::FrontendResult;
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::wire_error;

use containers::Containers;
use refs::RefTable;

pub(crate) use registry::Gateways;
pub use service::LlbBridgeService;

/// One frontend's conversation with one build.
pub(crate) struct Gateway {
    bridge: Arc<Bridge>,
    /// Definitions that the frontend was given.
    inputs: BTreeMap<String, Definition>,
    refs: RefTable,
    containers: Containers,
    /// What the frontend returned.
    outcome: SetOnce<Result<FrontendResult, BuildError>>,
    ended: CancellationToken,
}

/// Ends a conversation when dropped: calls under way are answered with an
/// error, containers are stopped.
pub(crate) struct Ending {
    _guard: DropGuard,
}

impl Gateway {
    /// Opens a conversation, which goes on as long as the second value lives.
    pub(crate) fn open(
        bridge: Arc<Bridge>,
        inputs: BTreeMap<String, Definition>,
    ) -> (Arc<Self>, Ending) {
        let id = bridge.job.id();
        bridge.engine.worker.jobs.inspect(id);
        let ended = CancellationToken::new();
        let gateway = Self {
            bridge,
            inputs,
            refs: RefTable::default(),
            containers: Containers::new(ended.clone()),
            outcome: SetOnce::new(),
            ended: ended.clone(),
        };
        let ending = Ending {
            _guard: ended.drop_guard(),
        };
        (Arc::new(gateway), ending)
    }

    /// Waits until the frontend returns.
    pub(crate) async fn returned(&self) -> Result<FrontendResult, BuildError> {
        self.outcome.wait().await.clone()
    }

    /// What the frontend has returned so far.
    pub(crate) fn outcome(&self) -> Option<Result<FrontendResult, BuildError>> {
        self.outcome.get().cloned()
    }

    /// Does what a frontend asks for, unless the build ends meanwhile.
    async fn answer<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(self.gone()),
            answer = work => answer,
        }
    }

    fn gone(&self) -> Status {
        let id = self.bridge.job.id();
        Status::not_found(format!("no such job {id}: the build has ended"))
    }

    /// An error of the build on the wire. What a failed step worked on can be
    /// looked at under the ids in there.
    fn status(&self, error: &BuildError) -> Status {
        wire_error::status_with(error, |output| self.refs.hold(output))
    }
}

/// An error that says what is wrong with a call.
fn invalid(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}
