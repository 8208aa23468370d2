//! What can be said of a step, one thing at a time.

use serde::{Deserialize, Serialize};

/// One thing about a step that its cache key covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Aspect {
    /// The image or other source that it brings.
    Source,
    /// The digest of that image.
    SourceDigest,
    /// An attribute of a source.
    Attribute(String),
    /// The command of a process.
    Command,
    /// An environment variable.
    Variable(String),
    /// The working directory.
    Directory,
    /// The user.
    User,
    /// What is mounted at a path.
    Mount(String),
    /// A secret in the environment, by its id.
    Secret(String),
    /// The network.
    Network,
    /// The security mode.
    Security,
    /// The host name.
    Hostname,
    /// A further host.
    Host(String),
    /// A resource limit.
    Limit(String),
    /// A device.
    Device(String),
    /// Any other setting of a process.
    Setting(String),
    /// What a file action does: a copy, a new file or directory, a removal. Actions are counted from 0.
    Action(usize),
    /// The owner that a file action gives.
    Owner(usize),
    /// The mode that a file action gives.
    Mode(usize),
    /// Any other option of a file action.
    Options(usize),
    /// The platform.
    Platform,
}

/// One thing about a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about.
    pub aspect: Aspect,
    /// What it is. Long values, and such with credentials, are shortened: what is left out stands as a hash behind an
    /// ellipsis.
    pub value: String,
}
