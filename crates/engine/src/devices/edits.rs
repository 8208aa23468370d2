//! What a process gets with its devices: nodes, mounts, variables and groups.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use kiln_executor::{Device as Node, DeviceKind, ExecRequest, Mount, MountPoint};
use kiln_llb::pb::CdiDevice;

use super::spec::{self, Edits};
use super::{Devices, invalid};
use crate::error::{BuildError, Kind};

/// Permission bits of a node that nobody says anything about.
const NODE_MODE: u32 = 0o666;

/// Everything that comes with the devices of a step.
#[derive(Debug, Default)]
pub(crate) struct Injection {
    env: Vec<String>,
    nodes: Vec<Node>,
    mounts: Vec<MountPoint>,
    gids: Vec<u32>,
}

impl Devices {
    /// What a process that asks for these devices gets. Looks up nodes of the host.
    pub(crate) fn inject(&self, asked: &[CdiDevice]) -> Result<Injection, BuildError> {
        let mut injection = Injection::default();
        let mut files = BTreeSet::new();
        for name in self.find(asked)? {
            let Some(device) = self.devices.get(&name) else {
                continue;
            };
            let file = &device.file;
            let own = file.spec.devices.get(device.index);
            let own = own.map(|it| &it.container_edits);
            let shared = files
                .insert(&file.path)
                .then_some(&file.spec.container_edits);
            for edits in shared.into_iter().chain(own) {
                injection.add(edits).map_err(|error| {
                    error.context(format!(
                        "failed to inject devices: device {name} ({})",
                        file.path.display()
                    ))
                })?;
            }
        }
        Ok(injection)
    }
}

impl Injection {
    fn add(&mut self, edits: &Edits) -> Result<(), BuildError> {
        let unsupported = [
            (!edits.hooks.is_empty(), "hooks"),
            (!edits.net_devices.is_empty(), "netDevices"),
            (edits.intel_rdt.is_some(), "intelRdt"),
        ];
        if let Some((_, what)) = unsupported.into_iter().find(|(is_asked, _)| *is_asked) {
            return Err(invalid(format!(
                "{what} of CDI files are not supported yet"
            )));
        }
        self.env.extend(edits.env.iter().cloned());
        for described in &edits.device_nodes {
            let node = node(described)?;
            self.nodes.retain(|known| known.target != node.target);
            self.nodes.push(node);
        }
        self.mounts.extend(edits.mounts.iter().map(mount));
        let gids = edits.additional_gids.iter().copied();
        self.gids.extend(gids.filter(|gid| *gid != 0));
        Ok(())
    }

    /// Gives it to a process.
    pub(crate) fn apply(mut self, request: &mut ExecRequest) {
        for variable in self.env {
            let name = variable.split('=').next().unwrap_or_default().to_owned();
            let env = &mut request.env;
            env.retain(|known| known.split('=').next() != Some(name.as_str()));
            env.push(variable);
        }
        request.devices.extend(self.nodes);
        // What is further up has to be there first.
        let depth = |mount: &MountPoint| mount.target.components().count();
        self.mounts.sort_by_key(depth);
        request.mounts.extend(self.mounts);
        request.additional_gids.extend(self.gids);
    }
}

/// A node in full: what its description leaves out is as on the host.
fn node(described: &spec::DeviceNode) -> Result<Node, BuildError> {
    let target = PathBuf::from(&described.path);
    if !is_below_dev(&target) {
        return Err(invalid(format!(
            "device node {:?}: nodes can only be made below /dev",
            described.path
        )));
    }
    let host = match described.host_path.as_str() {
        "" => target.clone(),
        path => PathBuf::from(path),
    };
    let kind = match described.r#type.as_str() {
        "" => None,
        "b" => Some(DeviceKind::Block),
        "c" | "u" => Some(DeviceKind::Character),
        _ => {
            return Err(invalid(format!(
                "device node {:?}: named pipes (type p) are not supported yet",
                described.path
            )));
        }
    };
    let found = Node::of_host(&host);
    let (kind, major, minor, host_mode) = match (kind, found) {
        (Some(kind), found) if described.major != 0 => {
            let mode = found.map_or(NODE_MODE, |found| found.mode);
            (kind, described.major, described.minor, mode)
        }
        (_, Err(error)) => return Err(no_host_device(&host, error)),
        (Some(kind), Ok(found)) if kind != found.kind => {
            return Err(invalid(format!(
                "CDI device ({:?}, {:?}), host type mismatch ({}, {})",
                described.path,
                host.display().to_string(),
                described.r#type,
                letter(found.kind)
            )));
        }
        (_, Ok(found)) => (found.kind, found.major, found.minor, found.mode),
    };
    let permissions = match described.permissions.as_str() {
        "" => "rwm",
        permissions => permissions,
    };
    Ok(Node {
        host,
        target,
        kind,
        major,
        minor,
        mode: described.file_mode.map_or(host_mode, |mode| mode & 0o7777),
        uid: described.uid,
        gid: described.gid,
        permissions: permissions.to_owned(),
    })
}

fn no_host_device(host: &Path, error: io::Error) -> BuildError {
    let message = format!(
        "failed to stat CDI host device {:?}",
        host.display().to_string()
    );
    BuildError::wrap(Kind::Environment, error).context(message)
}

fn letter(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Character => "c",
        DeviceKind::Block => "b",
    }
}

fn is_below_dev(path: &Path) -> bool {
    let is_plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    is_plain && path.starts_with("/dev") && path != Path::new("/dev")
}

/// A mount of the host's; where nothing is said it is a bind mount.
fn mount(described: &spec::Mount) -> MountPoint {
    let mut options = described.options.clone();
    let is_bind = matches!(described.r#type.as_str(), "" | "bind" | "none");
    if is_bind && !options.iter().any(|it| it == "bind" || it == "rbind") {
        options.push("rbind".to_owned());
    }
    let kind = match is_bind {
        true => "bind",
        false => described.r#type.as_str(),
    };
    let source = Mount {
        kind: kind.to_owned(),
        source: PathBuf::from(&described.host_path),
        options,
    };
    MountPoint::new(&described.container_path, source)
}
