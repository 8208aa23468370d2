//! Numbers of users and groups as chown(2) takes them.

use rustix::fs::{Gid, Uid};

/// Stands for "as it is" in chown(2), and so for nobody.
const UNCHANGED: u32 = u32::MAX;

/// The user to give a file to; `None`, which leaves it to whom it belongs, for the number that stands for that.
pub fn uid(number: u32) -> Option<Uid> {
    (number != UNCHANGED).then(|| Uid::from_raw(number))
}

/// The same of groups.
pub fn gid(number: u32) -> Option<Gid> {
    (number != UNCHANGED).then(|| Gid::from_raw(number))
}
