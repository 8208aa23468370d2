//! The container that a frontend image runs in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kiln_dockerfile::image::RunConfig;
use kiln_executor::{ExecError, ExecIo, ExecRequest, ExitStatus, MemoryFile, Network, StubRemoval};
use kiln_llb::{Definition, pb};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::stdio::{self, ProcessEnds};
use super::{Gateway, LlbBridgeService, invalid};
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind, chain};
use crate::frontend::FrontendResult;
use crate::jobs::Lenders;
use crate::ops::exec_io;
use crate::ops::exec_mounts::{Prepared, Setting};
use crate::request::Attributes;
use crate::step::Step;
use crate::step_network::WatchedNetwork;

/// Where a frontend finds the definition of its own image.
const OWN_DEFINITION: &str = "/run/config/buildkit/metadata/frontend.bin";

/// Label of images that need no network.
const NO_NETWORK: &str = "moby.buildkit.frontend.network.none";

/// How long a frontend may go on once it has returned a result or has closed
/// the connection.
const GRACE: Duration = Duration::from_secs(10);

/// Most of a frontend's standard error that is shown.
const MAX_LOG: usize = 4 << 20;

/// A frontend as a program.
pub(super) struct Program<'a> {
    /// The image's name.
    pub(super) name: &'a str,
    /// Gives the image's files.
    pub(super) definition: &'a Definition,
    pub(super) config: &'a RunConfig,
    pub(super) options: &'a Attributes,
}

/// Runs a frontend until it has returned a result and is gone.
pub(super) async fn run(
    bridge: &Arc<Bridge>,
    program: Program<'_>,
    inputs: BTreeMap<String, Definition>,
) -> Result<FrontendResult, BuildError> {
    let output = bridge.solve(program.definition).await?.output;
    let root = pb::Mount {
        dest: "/".into(),
        ..pb::Mount::default()
    };
    let setting = Setting {
        mounts: &[root],
        cwd: "/",
        user: format!("frontend {}", program.name),
        worker: &bridge.engine.worker,
        lenders: Lenders::One(&bridge.session),
    };
    let mut prepared = Prepared::new(setting, &[output]).await?;
    let mut request = program.request(bridge, &mut prepared)?;
    let _network = WatchedNetwork::of_frontend(bridge, &mut request).await?;
    let (gateway, _ending) = Gateway::open(bridge.clone(), inputs);
    let (connection, ends) = stdio::connect();
    let service = LlbBridgeService::new(gateway.clone());
    let status = tokio::select! {
        status = process(bridge, &gateway, &program, request, ends) => status,
        _ = stdio::serve(service, connection) => Err(program.silent()),
    };
    // An error that the frontend returned says more than how it ended.
    match (gateway.outcome(), status) {
        (Some(Err(error)), _) => Err(error),
        (_, Err(error)) => Err(error),
        (Some(Ok(result)), Ok(())) => Ok(result),
        (None, Ok(())) => {
            let message = format!("frontend {} ended without a result", program.name);
            Err(invalid(message))
        }
    }
}

/// Runs the process to its end.
async fn process(
    bridge: &Bridge,
    gateway: &Gateway,
    program: &Program<'_>,
    request: ExecRequest,
    ends: ProcessEnds,
) -> Result<(), BuildError> {
    let executor = bridge.engine.worker.executor.get();
    let executor = executor.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
    let (stderr, log) = mpsc::channel(16);
    let io = ExecIo {
        stdin: Some(Box::new(ends.stdin)),
        stdout: Some(ends.stdout),
        stderr: Some(stderr),
        ..ExecIo::default()
    };
    let stop = CancellationToken::new();
    let run = async {
        let running = executor.run(request, io, stop.clone());
        tokio::join!(running, show(bridge, program.name, log)).0
    };
    let is_over = async {
        tokio::select! {
            _ = gateway.returned() => End::Returned,
            () = ends.closed.cancelled() => End::Closed,
        }
    };
    let mut run = std::pin::pin!(run);
    let end = tokio::select! {
        status = &mut run => return program.check(status),
        end = is_over => end,
    };
    if let Ok(status) = tokio::time::timeout(GRACE, &mut run).await {
        return program.check(status);
    }
    stop.cancel();
    let _ = run.await;
    match end {
        End::Returned => Ok(()),
        End::Closed => Err(program.silent()),
    }
}

/// Why a frontend is expected to end.
enum End {
    Returned,
    Closed,
}

/// Shows what a frontend writes to standard error, if it writes anything.
async fn show(bridge: &Bridge, name: &str, mut log: mpsc::Receiver<Bytes>) {
    let Some(mut chunk) = log.recv().await else {
        return;
    };
    let step = Step::start(&bridge.progress, format!("[frontend] {name}"));
    let mut left = MAX_LOG;
    loop {
        if chunk.len() > left {
            step.reporter.warn("the frontend writes more than is shown");
            break;
        }
        left -= chunk.len();
        step.reporter.log(2, &chunk);
        match log.recv().await {
            Some(next) => chunk = next,
            None => break,
        }
    }
    step.end(String::new());
    while log.recv().await.is_some() {}
}

impl Program<'_> {
    fn request(&self, bridge: &Bridge, prepared: &mut Prepared) -> Result<ExecRequest, BuildError> {
        let args = match self.config.entrypoint.as_slice() {
            [] => vec!["/run".to_owned()],
            entrypoint => entrypoint.to_vec(),
        };
        let root = std::mem::take(&mut prepared.root);
        let mut request = exec_io::usual(&bridge.engine.worker, root, args);
        request.env = self.environment(bridge)?;
        request.cwd = Path::new("/").join(&self.config.working_dir);
        request.stubs = StubRemoval::Recursive;
        request.files = vec![MemoryFile {
            target: OWN_DEFINITION.into(),
            data: self.definition.encode().to_vec(),
            uid: 0,
            gid: 0,
            mode: 0o400,
        }];
        let label = self.config.labels.get(NO_NETWORK);
        if label.and_then(|it| kiln_llb::git_url::parse_bool(it)) == Some(true) {
            request.network = Network::None;
        }
        Ok(request)
    }

    /// The variables by which a frontend learns what it is to do.
    fn environment(&self, bridge: &Bridge) -> Result<Vec<String>, BuildError> {
        let engine = &bridge.engine;
        let workers = [WorkerFacts {
            id: &engine.worker_info.id,
            labels: &engine.worker_info.labels,
            platforms: vec![&engine.worker.platform],
        }];
        let workers = serde_json::to_string(&workers);
        let workers = workers.map_err(|error| BuildError::wrap(Kind::Internal, error))?;
        let options = self.options.iter().enumerate();
        let options = options
            .map(|(index, (key, value))| format!("BUILDKIT_FRONTEND_OPT_{index}={key}={value}"));
        let mut env = self.config.env.clone();
        env.extend(options);
        env.push(format!("BUILDKIT_SESSION_ID={}", bridge.session.id));
        env.push(format!("BUILDKIT_WORKERS={workers}"));
        env.push("BUILDKIT_EXPORTEDPRODUCT=buildkit".into());
        Ok(env)
    }

    fn check(&self, status: Result<ExitStatus, ExecError>) -> Result<(), BuildError> {
        let failed = |kind, what: String| {
            let message = format!(
                "frontend {} did not complete successfully: {what}",
                self.name
            );
            Err(BuildError::new(kind, message))
        };
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => failed(Kind::Input, status.to_string()),
            Err(error) => failed(exec_io::kind(&error), chain(&error)),
        }
    }

    /// The connection is over, but the frontend is not.
    fn silent(&self) -> BuildError {
        let name = self.name;
        let message = format!("frontend {name}: frontend grpc server closed unexpectedly");
        invalid(message)
            .hint("a frontend speaks gRPC on its standard input and output, and nothing else")
    }
}

/// A worker as frontends learn of it.
#[derive(Serialize)]
struct WorkerFacts<'a> {
    id: &'a str,
    labels: &'a BTreeMap<String, String>,
    platforms: Vec<&'a oci_spec::image::Platform>,
}
