//! `State`: a filesystem to be, and how processes run in it.

use super::constraints::Constraints;
use super::env::Env;
use super::exec::{Exec, Run};
use super::file::{FileActions, FileNode};
use super::node::{Node, NodeKind, Output};
use crate::path;
use crate::platform;
use kiln_protocol::pb;
use oci_spec::image::Platform;
use std::sync::{Arc, OnceLock};

/// A filesystem that a build will have, together with the settings for processes run in it.
/// Cheap to clone; every method returns a new state.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) output: Option<Output>,
    pub(crate) settings: Arc<Settings>,
}

/// How processes run in a state.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Environment.
    pub env: Env,
    /// Working directory, absolute.
    pub dir: String,
    /// User, empty for root.
    pub user: String,
    /// Host name, empty for the default.
    pub hostname: String,
    /// Extra lines of the hosts file: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits.
    pub ulimits: Vec<pb::Ulimit>,
    /// Parent control group.
    pub cgroup_parent: String,
    /// Network.
    pub network: pb::NetMode,
    /// Privileges.
    pub security: pb::SecurityMode,
    /// Platform, in normal form.
    pub platform: Option<Platform>,
}

/// The other end of a [`State::deferred`].
#[derive(Clone, Debug)]
pub struct Deferred(Output);

impl Deferred {
    /// Says what the filesystem is. Only the first call counts; without one it is empty.
    pub fn resolve(&self, state: &State) {
        if let NodeKind::Deferred(target) = &self.0.node.kind {
            let _ = target.set(state.output.clone());
        }
    }
}

impl State {
    /// An empty filesystem.
    pub fn scratch() -> Self {
        Self::from_output(None)
    }

    pub(crate) fn from_output(output: Option<Output>) -> Self {
        let settings = Settings {
            dir: "/".into(),
            ..Default::default()
        };
        Self {
            output: None,
            settings: Arc::new(settings),
        }
        .with_output(output)
    }

    /// A filesystem that will be known only once everything which uses it is known, such as a client
    /// directory of which only the used files are sent.
    pub fn deferred() -> (Self, Deferred) {
        let node = Node {
            kind: NodeKind::Deferred(OnceLock::new()),
            constraints: Constraints::new(),
        };
        let output = Output::first(node);
        (Self::from_output(Some(output.clone())), Deferred(output))
    }

    pub(crate) fn from_source(node: Node) -> Self {
        Self::from_output(Some(Output::first(node)))
    }

    /// The same settings over another filesystem.
    pub(crate) fn with_output(&self, output: Option<Output>) -> Self {
        let platform = output.as_ref().and_then(|it| it.platform.clone());
        let state = Self {
            output,
            settings: self.settings.clone(),
        };
        match platform {
            Some(platform) => state.platform(&platform),
            None => state,
        }
    }

    /// The filesystem of `other` with these settings.
    pub fn with_files_of(&self, other: &State) -> Self {
        self.with_output(other.output.clone())
    }

    /// Whether the filesystem is empty.
    pub fn is_scratch(&self) -> bool {
        self.output.is_none()
    }

    /// The settings for processes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut state = self.clone();
        change(Arc::make_mut(&mut state.settings));
        state
    }

    /// Sets an environment variable.
    pub fn add_env(&self, name: &str, value: &str) -> Self {
        self.change(|settings| settings.env.set(name, value))
    }

    /// Sets the working directory; a relative one continues the present one.
    pub fn dir(&self, dir: &str) -> Self {
        self.change(|settings| {
            settings.dir = if path::is_abs(dir) {
                dir.into()
            } else {
                path::join([settings.dir.as_str(), dir])
            };
        })
    }

    /// Sets the user.
    pub fn user(&self, user: &str) -> Self {
        self.change(|settings| settings.user = user.into())
    }

    /// Sets the host name.
    pub fn hostname(&self, hostname: &str) -> Self {
        self.change(|settings| settings.hostname = hostname.into())
    }

    /// Sets the platform.
    pub fn platform(&self, platform: &Platform) -> Self {
        self.change(|settings| settings.platform = Some(platform::normalize(platform)))
    }

    /// Sets the network.
    pub fn network(&self, network: pb::NetMode) -> Self {
        self.change(|settings| settings.network = network)
    }

    /// Sets the privileges.
    pub fn security(&self, security: pb::SecurityMode) -> Self {
        self.change(|settings| settings.security = security)
    }

    /// Adds a hosts file line.
    pub fn add_extra_host(&self, host: &str, ip: &str) -> Self {
        self.change(|settings| settings.extra_hosts.push((host.into(), ip.into())))
    }

    /// Adds a resource limit.
    pub fn add_ulimit(&self, limit: pb::Ulimit) -> Self {
        self.change(|settings| settings.ulimits.push(limit))
    }

    /// Sets the parent control group.
    pub fn cgroup_parent(&self, parent: &str) -> Self {
        self.change(|settings| settings.cgroup_parent = parent.into())
    }

    /// Runs a process.
    pub fn run(&self, run: Run) -> Exec {
        Exec::new(self, run)
    }

    /// Changes files.
    pub fn file(&self, actions: FileActions, constraints: Constraints) -> Self {
        let node = FileNode {
            base: self.clone(),
            actions,
        };
        self.with_output(Some(Output::first(Node {
            kind: NodeKind::File(node),
            constraints,
        })))
    }

    /// Lays the filesystems over each other, later ones on top. Empty ones are left out.
    pub fn merge(states: &[State], constraints: Constraints) -> Self {
        let states: Vec<&State> = states.iter().filter(|it| !it.is_scratch()).collect();
        match states[..] {
            [] => Self::scratch(),
            [only] => only.clone(),
            [first, ..] => {
                let inputs = states.iter().filter_map(|it| it.output.clone()).collect();
                first.with_output(Some(Output::first(Node {
                    kind: NodeKind::Merge(inputs),
                    constraints: constraints.cap(crate::caps::MERGE_OP),
                })))
            }
        }
    }

    /// What `upper` changes against `lower`.
    pub fn diff(lower: &State, upper: &State, constraints: Constraints) -> Self {
        if lower.is_scratch() {
            return upper.clone();
        }
        lower.with_output(Some(Output::first(Node {
            kind: NodeKind::Diff {
                lower: lower.output.clone(),
                upper: upper.output.clone(),
            },
            constraints: constraints.cap(crate::caps::DIFF_OP),
        })))
    }

    /// The same filesystem, built only once all of `others` are.
    pub fn requires(&self, id: &str, others: &[State]) -> Self {
        let Some(output) = self.output.clone().filter(|_| !others.is_empty()) else {
            return self.clone();
        };
        let others = others.iter().filter_map(|it| it.output.clone());
        self.with_output(Some(Output::first(Node {
            kind: NodeKind::Passthrough {
                id: id.into(),
                inputs: std::iter::once(output).chain(others).collect(),
                outputs: vec![0],
            },
            constraints: Constraints::new().cap(crate::caps::PASSTHROUGH_OP),
        })))
    }
}
