//! Users and groups of a root file system, from its own `/etc/passwd` and `/etc/group`.

mod files;

use std::io;

use files::{GroupEntry, PasswdEntry};

use crate::tree::{Owner, Root, TreeError};

/// A process's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups that the group file gives to the user; empty if the group was named.
    pub supplementary: Vec<u32>,
    /// Home directory, if the user has an entry.
    pub home: Option<String>,
}

/// A user or group in a `chown`: by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameOrId {
    /// By name.
    Name(String),
    /// By number.
    Id(u32),
}

/// Why a user or group is unknown.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such user. Upstream's text.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// No such group. Upstream's text.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// A number that is none of a user or group. Upstream's text.
    #[error("{0}: uids and gids must be in range 0-2147483647")]
    OutOfRange(String),
    /// The files could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The identity that a `USER` value means in a root: `name`, `uid`, `name:group`, `uid:gid`, or empty for root.
///
/// # Errors
/// A name has no entry, or a number is out of range.
pub fn identity(root: &Root, spec: &str) -> Result<Identity, UserError> {
    let (user, group) = spec
        .split_once(':')
        .map_or((spec, None), |(user, group)| (user, Some(group)));
    let group = group.filter(|group| !group.is_empty());
    if let (Some(uid), Some(gid)) = (plain_id(user), group.and_then(plain_id)) {
        return Ok(Identity {
            uid,
            gid,
            ..Identity::default()
        });
    }
    let user = if user.is_empty() { "0" } else { user };
    let number = parse_id(user)?;
    let entry = files::passwd(root)?
        .into_iter()
        .find(|entry| number.map_or(entry.name == user, |number| entry.uid == number));
    let mut identity = match (&entry, number) {
        (Some(PasswdEntry { uid, gid, home, .. }), _) => Identity {
            uid: *uid,
            gid: *gid,
            home: Some(home.clone()),
            ..Identity::default()
        },
        (None, Some(uid)) => Identity {
            uid,
            ..Identity::default()
        },
        (None, None) => return Err(UserError::UnknownUser(user.to_owned())),
    };
    match (group, entry) {
        (Some(group), _) => identity.gid = group_id(root, group)?,
        (None, Some(entry)) => {
            identity.supplementary = memberships(&files::groups(root)?, &entry.name)
        }
        (None, None) => {}
    }
    Ok(identity)
}

/// The owner that a `chown` means. As upstream, an unknown name means root, and a user brings its own group unless
/// another is given.
///
/// # Errors
/// The files exist but cannot be read.
pub fn owner(
    user: Option<(&NameOrId, &Root)>,
    group: Option<(&NameOrId, &Root)>,
) -> Result<Owner, UserError> {
    let mut owner = match user {
        None => Owner { uid: 0, gid: 0 },
        Some((NameOrId::Id(id), _)) => Owner { uid: *id, gid: *id },
        Some((NameOrId::Name(name), root)) => files::passwd(root)?
            .into_iter()
            .find(|entry| entry.name == *name)
            .map_or(Owner { uid: 0, gid: 0 }, |entry| Owner {
                uid: entry.uid,
                gid: entry.gid,
            }),
    };
    match group {
        None => {}
        Some((NameOrId::Id(id), _)) => owner.gid = *id,
        Some((NameOrId::Name(name), root)) => {
            if let Some(entry) = files::groups(root)?
                .into_iter()
                .find(|entry| entry.name == *name)
            {
                owner.gid = entry.gid;
            }
        }
    }
    Ok(owner)
}

fn group_id(root: &Root, group: &str) -> Result<u32, UserError> {
    let number = parse_id(group)?;
    match number {
        Some(gid) => Ok(gid),
        None => files::groups(root)?
            .into_iter()
            .find(|entry| entry.name == group)
            .map(|entry| entry.gid)
            .ok_or_else(|| UserError::UnknownGroup(group.to_owned())),
    }
}

fn memberships(groups: &[GroupEntry], user: &str) -> Vec<u32> {
    groups
        .iter()
        .filter(|group| group.members.iter().any(|member| member == user))
        .map(|group| group.gid)
        .collect()
}

/// A number, or `root`, that needs no file to be understood.
fn plain_id(text: &str) -> Option<u32> {
    if text == "root" {
        Some(0)
    } else {
        text.parse().ok()
    }
}

/// The number that a name is, if it is one.
fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id.unsigned_abs())),
        _ => Err(UserError::OutOfRange(text.to_owned())),
    }
}

/// Whether a file of users or groups is simply not there.
fn is_absent(error: &TreeError) -> bool {
    matches!(error, TreeError::Os { source, .. }
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}
