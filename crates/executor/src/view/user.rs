//! Who a step runs as, by the root filesystem's own `/etc/passwd` and `/etc/group`.

use std::path::Path;

use rustix::process::{Gid, Uid};

use super::root::Root;
use crate::InvalidRequest;

/// Files larger than this are not account databases.
const LIMIT: u64 = 10 << 20;

/// Ids of a step's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, the primary one first.
    pub(crate) groups: Vec<u32>,
    /// Home directory.
    pub(crate) home: String,
}

/// The number that the kernel takes for none.
const NOBODY: u32 = u32::MAX;

/// What is said of numbers that nobody has.
const OUT_OF_RANGE: &str = "uids and gids must be in range 0-2147483647";

/// The owner to give a file to. The number that chown(2) takes for "as it is" leaves it to whom it belongs.
pub(crate) fn owner(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    let is_given = |number: &u32| *number != NOBODY;
    (
        Some(uid).filter(is_given).map(Uid::from_raw),
        Some(gid).filter(is_given).map(Gid::from_raw),
    )
}

/// Resolves `user[:group]`, names or numbers; empty is root.
pub(crate) fn resolve(
    root: &Root,
    spec: &str,
    additional: &[u32],
) -> Result<Identity, InvalidRequest> {
    let passwd = root.read_to_string(Path::new("/etc/passwd"), LIMIT).ok();
    let passwd = passwd.as_deref();
    let group = || root.read_to_string(Path::new("/etc/group"), LIMIT).ok();
    let (uid, gid, mut groups) = match both_numeric(spec) {
        Some((uid, gid)) => (uid, gid, Vec::new()),
        None if spec.is_empty() => {
            lookup("0", passwd, group().as_deref()).unwrap_or((0, 0, Vec::new()))
        }
        None => lookup(spec, passwd, group().as_deref()).map_err(InvalidRequest::User)?,
    };
    groups.extend(
        additional
            .iter()
            .filter(|id| !groups.contains(id))
            .copied()
            .collect::<Vec<_>>(),
    );
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    // Who asks to become it stays what they are.
    if [uid, gid].iter().chain(&groups).any(|id| *id == NOBODY) {
        return Err(InvalidRequest::User(OUT_OF_RANGE.to_owned()));
    }
    let home = lines(passwd)
        .map(Account::parse)
        .find(|account| account.id == uid)
        .map(|account| account.home);
    let home = home
        .filter(|home| !home.is_empty())
        .unwrap_or("/")
        .to_owned();
    Ok(Identity {
        uid,
        gid,
        groups,
        home,
    })
}

/// `uid:gid` needs no files; `root` counts as a number here.
fn both_numeric(spec: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        if text == "root" {
            Some(0)
        } else {
            text.parse().ok()
        }
    };
    let (user, group) = spec.split_once(':')?;
    Some((number(user)?, number(group)?))
}

type Ids = (u32, u32, Vec<u32>);

fn lookup(spec: &str, passwd: Option<&str>, group: Option<&str>) -> Result<Ids, String> {
    let mut parts = spec.split(':');
    let user = parts.next().unwrap_or_default();
    let group_name = parts.next().unwrap_or_default();
    let uid = numeric(user)?;
    let gid = numeric(group_name)?;

    let entry = lines(passwd).map(Account::parse).find(|account| match uid {
        _ if user.is_empty() => account.id == 0,
        Some(uid) => account.id == uid,
        None => account.name == user,
    });
    let mut ids = match (&entry, uid) {
        (Some(account), _) => (account.id, account.group, Vec::new()),
        (None, Some(uid)) => (uid, 0, Vec::new()),
        (None, None) if user.is_empty() => (0, 0, Vec::new()),
        (None, None) => {
            return Err(format!(
                "unable to find user {user}: no matching entries in passwd file"
            ));
        }
    };

    if !group_name.is_empty() {
        let found = groups(group).find(|entry| match gid {
            Some(gid) => entry.id == gid,
            None => entry.name == group_name,
        });
        ids.1 = match (found, gid) {
            (Some(entry), _) => entry.id,
            (None, Some(gid)) => gid,
            (None, None) => {
                return Err(format!(
                    "unable to find group {group_name}: no matching entries in group file"
                ));
            }
        };
    } else if let Some(account) = entry.filter(|account| !account.name.is_empty()) {
        ids.2 = groups(group)
            .filter(|entry| {
                entry
                    .members
                    .split(',')
                    .any(|member| member == account.name)
            })
            .map(|entry| entry.id)
            .collect();
    }
    Ok(ids)
}

/// A number within the range that the field accepts, or nothing for a name.
fn numeric(text: &str) -> Result<Option<u32>, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(id) if (0..=i64::from(i32::MAX)).contains(&id) => Ok(u32::try_from(id).ok()),
        _ => Err(OUT_OF_RANGE.to_owned()),
    }
}

fn lines(file: Option<&str>) -> impl Iterator<Item = &str> {
    file.unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

struct Account<'a> {
    name: &'a str,
    id: u32,
    group: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    /// `name:password:uid:gid:…`; numbers that are none count as 0, as in the field.
    fn parse(line: &'a str) -> Account<'a> {
        let fields: Vec<&str> = line.split(':').collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        let number = |index| field(index).parse::<u32>().unwrap_or(0);
        Account {
            name: field(0),
            id: number(2),
            group: number(3),
            home: field(5),
        }
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    id: u32,
    members: &'a str,
}

/// `name:password:gid:members`.
fn groups(file: Option<&str>) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(file)
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.splitn(4, ':').collect();
            let field = |index: usize| fields.get(index).copied().unwrap_or_default();
            GroupEntry {
                name: field(0),
                id: field(2).parse().unwrap_or(0),
                members: field(3),
            }
        })
}
