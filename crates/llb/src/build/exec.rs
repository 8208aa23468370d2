//! Running a process: mounts, secrets, sockets, devices.

use super::constraints::Constraints;
use super::node::{Node, NodeKind, Output};
use super::state::{Settings, State};
use kiln_protocol::pb;
use std::sync::Arc;

/// A process to run in a state.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Settings in place of the state's own; they do not stay with the resulting state.
    pub settings: Option<Settings>,
    /// Mounts besides the root.
    pub mounts: Vec<Mount>,
    /// Whether changes of the root are kept.
    pub root: Access,
    /// Proxy variables, which are not part of the cache key.
    pub proxy: Option<pb::ProxyEnv>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// Agent sockets.
    pub ssh: Vec<SshSocket>,
    /// CDI devices.
    pub devices: Vec<pb::CdiDevice>,
    /// Exit codes that count as success; empty means zero alone.
    pub valid_exit_codes: Vec<i32>,
    /// Metadata.
    pub constraints: Constraints,
}

/// Something mounted for a process.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where.
    pub target: String,
    /// From what; scratch is an empty start.
    pub source: State,
    /// Which path of the source, empty for its root.
    pub selector: String,
    /// What may be done and what is kept.
    pub access: Access,
    /// What it is.
    pub kind: MountKind,
    /// Whether its content may serve as a cache key.
    pub content_cache: pb::MountContentCache,
}

/// What a process may do to a mount and what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Changes are the mount's output.
    #[default]
    Keep,
    /// Changes are thrown away.
    Discard,
    /// Nothing may be changed.
    ReadOnly,
}

/// Kinds of mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of a state.
    #[default]
    Bind,
    /// A directory that persists between builds.
    Cache {
        /// Which one.
        id: String,
        /// How builds share it.
        sharing: pb::CacheSharingOpt,
    },
    /// A directory in memory.
    Tmpfs {
        /// Limit in bytes; zero for the default.
        size: i64,
    },
}

impl Mount {
    /// A read-write bind mount of `source` whose changes are kept.
    pub fn new(target: impl Into<String>, source: State) -> Self {
        Self {
            target: target.into(),
            source,
            selector: String::new(),
            access: Access::Keep,
            kind: MountKind::Bind,
            content_cache: pb::MountContentCache::Default,
        }
    }
}

/// A secret lent to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// Its name at the client.
    pub id: String,
    /// Mounted as this file.
    pub target: Option<String>,
    /// Given as this environment variable.
    pub env: Option<String>,
    /// Owner and mode of the file.
    pub file: FileOwner,
    /// Whether its absence is no error.
    pub optional: bool,
}

/// An SSH agent's socket lent to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshSocket {
    /// Its name at the client.
    pub id: String,
    /// Where; empty chooses a place.
    pub target: String,
    /// Owner and mode of the socket.
    pub file: FileOwner,
    /// Whether its absence is no error.
    pub optional: bool,
}

/// Owner and mode of a mounted file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// What running a process yields.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The root filesystem afterwards, with the settings of the state it ran in.
    pub root: State,
    mounts: Vec<(String, Option<Output>)>,
}

impl Exec {
    pub(crate) fn new(base: &State, run: Run) -> Self {
        let settings = run
            .settings
            .map(Arc::new)
            .unwrap_or_else(|| base.settings.clone());
        let mut root = Mount::new("/", base.clone());
        root.access = run.root;
        let mut mounts: Vec<ExecMount> = std::iter::once(root)
            .chain(run.mounts)
            .map(ExecMount::from)
            .collect();
        // Outputs are numbered in the order of targets; of equal targets the first stays first.
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        let platform = run.constraints.platform.clone();
        let node = Arc::new(Node {
            kind: NodeKind::Exec(ExecNode {
                args: run.args,
                settings,
                mounts,
                proxy: run.proxy,
                secrets: run.secrets,
                ssh: run.ssh,
                devices: run.devices,
                valid_exit_codes: run.valid_exit_codes,
            }),
            constraints: run.constraints,
        });
        let mut exec = Self {
            root: base.clone(),
            mounts: Vec::new(),
        };
        let NodeKind::Exec(made) = &node.kind else {
            return exec;
        };
        let mut next = 0;
        for mount in &made.mounts {
            let output = match (mount.access, mount.yields_output()) {
                (Access::ReadOnly, _) => mount.source.clone(),
                (_, false) => None,
                (_, true) => {
                    let output = Output {
                        node: node.clone(),
                        index: next,
                        platform: platform.clone(),
                    };
                    next += 1;
                    Some(output)
                }
            };
            exec.mounts.push((mount.target.clone(), output));
        }
        if let Some((_, output)) = exec.mounts.iter().find(|(target, _)| target == "/") {
            exec.root = base.with_output(output.clone());
        }
        exec
    }

    /// The filesystem of a mount afterwards; none if there is no such mount or nothing of it is kept.
    pub fn mount(&self, target: &str) -> Option<State> {
        let (_, output) = self.mounts.iter().find(|(known, _)| known == target)?;
        output
            .clone()
            .map(|output| State::from_output(Some(output)))
    }
}

#[derive(Debug)]
pub(crate) struct ExecNode {
    pub(crate) args: Vec<String>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) mounts: Vec<ExecMount>,
    pub(crate) proxy: Option<pb::ProxyEnv>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) ssh: Vec<SshSocket>,
    pub(crate) devices: Vec<pb::CdiDevice>,
    pub(crate) valid_exit_codes: Vec<i32>,
}

#[derive(Debug)]
pub(crate) struct ExecMount {
    pub(crate) target: String,
    pub(crate) source: Option<Output>,
    pub(crate) selector: String,
    pub(crate) access: Access,
    pub(crate) kind: MountKind,
    pub(crate) content_cache: pb::MountContentCache,
}

impl From<Mount> for ExecMount {
    fn from(mount: Mount) -> Self {
        Self {
            target: mount.target,
            source: mount.source.output,
            selector: mount.selector,
            access: mount.access,
            kind: mount.kind,
            content_cache: mount.content_cache,
        }
    }
}

impl ExecMount {
    pub(crate) fn yields_output(&self) -> bool {
        self.access == Access::Keep && self.kind == MountKind::Bind
    }
}
