//! The passwd and group files. Lines that make no sense are passed over.

use super::is_absent;
use crate::tree::{Root, TreeError};

const MAX_FILE: u64 = 10 << 20;

pub(super) struct PasswdEntry {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

pub(super) struct GroupEntry {
    pub(super) name: String,
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

pub(super) fn passwd(root: &Root) -> Result<Vec<PasswdEntry>, TreeError> {
    let text = read(root, "/etc/passwd")?;
    Ok(text.lines().filter_map(passwd_entry).collect())
}

pub(super) fn groups(root: &Root) -> Result<Vec<GroupEntry>, TreeError> {
    let text = read(root, "/etc/group")?;
    Ok(text.lines().filter_map(group_entry).collect())
}

/// `name:password:uid:gid:comment:home:shell`
fn passwd_entry(line: &str) -> Option<PasswdEntry> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?.to_owned();
    let _password = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let _comment = fields.next();
    Some(PasswdEntry {
        name,
        uid,
        gid,
        home: fields.next().unwrap_or_default().to_owned(),
    })
}

/// `name:password:gid:member,member`
fn group_entry(line: &str) -> Option<GroupEntry> {
    let mut fields = line.trim().split(':');
    let name = fields
        .next()
        .filter(|name| !name.starts_with('#'))?
        .to_owned();
    let _password = fields.next()?;
    let gid = fields.next()?.parse().ok()?;
    let members = fields.next().unwrap_or_default();
    Some(GroupEntry {
        name,
        gid,
        members: members.split(',').map(str::to_owned).collect(),
    })
}

fn read(root: &Root, path: &str) -> Result<String, TreeError> {
    match root.read_file(path, MAX_FILE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if is_absent(&error) => Ok(String::new()),
        Err(error) => Err(error),
    }
}
