//! Containers of a frontend: mounts made ready once, then processes in them.

mod conversation;
mod process;
mod signal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_executor::ExecRequest;
use kiln_llb::pb::Mount;
use kiln_protocol::frontend::NewContainerRequest;
use kiln_store::Store;
use kiln_store::tree::Root;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::{Gateway, invalid};
use crate::error::BuildError;
use crate::jobs::Lenders;
use crate::load::check_privileges;
use crate::lost::Need;
use crate::ops::Output;
use crate::ops::exec_io::{self, extra_hosts, network};
use crate::ops::exec_mounts::{Prepared, Setting};
use crate::step_network::WatchedNetwork;
use crate::tree;

pub(super) use conversation::converse;

/// More containers than any frontend needs at a time.
const MAX_CONTAINERS: usize = 1000;

/// The containers of one frontend.
pub(super) struct Containers {
    by_id: Mutex<HashMap<String, Arc<Container>>>,
    ended: CancellationToken,
}

/// Mounts, and the processes that see them.
pub(super) struct Container {
    /// The request that its processes have in common.
    request: ExecRequest,
    /// Where its mounts are, in the order in which they were asked for.
    targets: Vec<PathBuf>,
    network: i32,
    /// The proxy that it has in place of a network.
    watched: Option<WatchedNetwork>,
    /// Whether a process was started: further ones join it.
    started: AtomicBool,
    cancel: CancellationToken,
    processes: TaskTracker,
    /// Keeps what is mounted.
    _mounts: Prepared,
}

impl Containers {
    pub(super) fn new(ended: CancellationToken) -> Self {
        Self {
            by_id: Mutex::default(),
            ended,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Container>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: &str) -> Result<Arc<Container>, Status> {
        let found = self.lock().get(id).cloned();
        found.ok_or_else(|| {
            Status::not_found(format!(
                "container {id:?} previously released or not created"
            ))
        })
    }

    fn add(&self, id: String, container: Container) -> Result<(), Status> {
        let mut containers = self.lock();
        if containers.contains_key(&id) {
            return Err(Status::already_exists(format!(
                "Container {id} already exists"
            )));
        }
        if containers.len() >= MAX_CONTAINERS {
            let message = format!("more than {MAX_CONTAINERS} containers: release some first");
            return Err(Status::resource_exhausted(message));
        }
        containers.insert(id, Arc::new(container));
        Ok(())
    }

    /// Stops a container's processes and forgets it.
    pub(super) async fn release(&self, id: &str) -> Result<(), Status> {
        let container = self.lock().remove(id);
        let Some(container) = container else {
            let message = format!("container details for {id} not found");
            return Err(Status::not_found(message));
        };
        container.cancel.cancel();
        container.processes.close();
        container.processes.wait().await;
        Ok(())
    }
}

/// `NewContainer`: makes the mounts ready.
pub(super) async fn create(gateway: &Gateway, request: NewContainerRequest) -> Result<(), Status> {
    let id = request.container_id.clone();
    if id.is_empty() {
        return Err(Status::invalid_argument("ContainerID required"));
    }
    let (mounts, inputs) = mounts(gateway, &request.mounts).await?;
    let container = container(gateway, &request, &mounts, &inputs).await;
    let container = container.map_err(|error| gateway.status(&error))?;
    gateway.containers.add(id, container)
}

/// The mounts with the results that they show as inputs.
async fn mounts(gateway: &Gateway, wanted: &[Mount]) -> Result<(Vec<Mount>, Vec<Output>), Status> {
    let mut mounts = Vec::with_capacity(wanted.len());
    let mut inputs = Vec::new();
    for mount in wanted {
        let mut mount = Mount {
            input: -1,
            output: 0,
            result_id: String::new(),
            ..mount.clone()
        };
        let id = &wanted[mounts.len()].result_id;
        if !id.is_empty() {
            let held = gateway.refs.get(id).map_err(|_| {
                let message = format!("failed to find ref {id} for {:?} mount", mount.dest);
                Status::unknown(message)
            })?;
            let output = held.output(Need::Files).await;
            mount.input = i64::try_from(inputs.len()).unwrap_or(i64::MAX);
            inputs.push(output.map_err(|error| gateway.status(&error))?);
        }
        mounts.push(mount);
    }
    Ok((mounts, inputs))
}

async fn container(
    gateway: &Gateway,
    wanted: &NewContainerRequest,
    mounts: &[Mount],
    inputs: &[Output],
) -> Result<Container, BuildError> {
    let bridge = &gateway.bridge;
    check_privileges(wanted.network, 0, &bridge.entitlements)?;
    let filters = wanted.constraints.as_ref();
    let filters = filters.map_or(&[][..], |constraints| &constraints.filter);
    bridge.engine.worker_info.check(filters)?;
    let setting = Setting {
        mounts,
        cwd: "/",
        user: format!("container {}", wanted.container_id),
        worker: &bridge.engine.worker,
        lenders: Lenders::One(&bridge.session),
    };
    let mut prepared = Prepared::new(setting, inputs).await?;
    let root = std::mem::take(&mut prepared.root);
    let mut request = exec_io::usual(&bridge.engine.worker, root, Vec::new());
    request.root_access = prepared.root_access;
    request.mounts = std::mem::take(&mut prepared.mounts);
    request.files = std::mem::take(&mut prepared.files);
    request.hostname = wanted.hostname.clone();
    request.extra_hosts = extra_hosts(&wanted.extra_hosts)?;
    request.network = network(wanted.network)?;
    let watched = WatchedNetwork::of_frontend(bridge, &mut request).await?;
    Ok(Container {
        request,
        targets: mounts
            .iter()
            .map(|it| Path::new("/").join(&it.dest))
            .collect(),
        network: wanted.network,
        watched,
        started: AtomicBool::new(false),
        cancel: gateway.containers.ended.child_token(),
        processes: TaskTracker::new(),
        _mounts: prepared,
    })
}

impl Container {
    /// Whether a process is the first one, from now on.
    fn is_first(&self) -> bool {
        !self.started.swap(true, Ordering::SeqCst)
    }

    /// Looks into one of the mounts, as it is now. Blocks.
    pub(super) fn look<T>(
        &self,
        store: &Store,
        index: i32,
        look: impl FnOnce(&Root) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let target = usize::try_from(index).ok();
        let target = target.and_then(|index| self.targets.get(index));
        let target = target.ok_or_else(|| {
            let count = self.targets.len();
            invalid(format!(
                "mount index {index} is out of bounds ({count} available)"
            ))
        })?;
        let sources = if target == Path::new("/") {
            Some(&self.request.rootfs)
        } else {
            let mut points = self.request.mounts.iter();
            points
                .find(|point| &point.target == target)
                .map(|point| &point.sources)
        };
        let sources = sources.ok_or_else(|| invalid(format!("mountable {index} not found")))?;
        let tree = tree::open_for_look(store, sources, target)?;
        look(&tree.root)
    }
}
