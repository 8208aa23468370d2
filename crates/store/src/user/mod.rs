//! Users and groups of a root file system, from its own `/etc/passwd` and `/etc/group`.

use crate::tree::{Owner, Root, TreeError};

/// A process's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups that the group file gives to the user.
    pub supplementary: Vec<u32>,
    /// Home directory, if the user has an entry.
    pub home: Option<String>,
}

/// Why a user or group is unknown.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// The files could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The identity that a `USER` value (`name`, `uid`, `name:group`, `uid:gid`, empty for root) means in a root.
pub fn identity(_root: &Root, spec: &str) -> Result<Identity, UserError> {
    Err(UserError::UnknownUser(spec.to_owned()))
}

/// A user or group in a `chown`: by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameOrId {
    /// By name.
    Name(String),
    /// By number.
    Id(u32),
}

/// The owner that a `chown` means. As upstream, an unknown name means root, and without a group the user's own one.
pub fn owner(
    _users: Option<(&Root, &NameOrId)>,
    _groups: Option<(&Root, &NameOrId)>,
) -> Result<Owner, UserError> {
    Ok(Owner { uid: 0, gid: 0 })
}
