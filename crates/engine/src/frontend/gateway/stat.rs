//! File metadata as the wire has it: modes with Go's bits.

use std::time::Duration;

use kiln_protocol::fsutil::Stat;
use kiln_store::tree::{FileKind, Follow, Metadata, Root, TreeError};

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const NAMED_PIPE: u32 = 1 << 25;
const SET_UID: u32 = 1 << 23;
const SET_GID: u32 = 1 << 22;
const CHAR_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;

/// What is at `path`, called `name`. Blocks.
#[allow(clippy::useless_conversion)]
pub(super) fn stat(root: &Root, path: &str, follow: Follow, name: &str) -> Result<Stat, TreeError> {
    let metadata = root.metadata(path, follow)?;
    let linkname = match metadata.kind {
        FileKind::Symlink => root.read_link(path)?.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let xattrs = root.xattrs(path, follow)?.into_iter();
    Ok(Stat {
        path: name.to_owned().into(),
        mode: go_mode(&metadata),
        uid: metadata.owner.uid,
        gid: metadata.owner.gid,
        size: match metadata.kind {
            FileKind::Directory => 0,
            _ => i64::try_from(metadata.size).unwrap_or(i64::MAX),
        },
        mod_time: nanoseconds(&metadata),
        linkname: linkname.into(),
        devmajor: device(&metadata).0,
        devminor: device(&metadata).1,
        xattrs: xattrs.map(|(key, value)| (key, value.into())).collect(),
    })
}

fn go_mode(metadata: &Metadata) -> u32 {
    let kind = match metadata.kind {
        FileKind::Directory => DIRECTORY,
        FileKind::Symlink => SYMLINK,
        FileKind::BlockDevice => DEVICE,
        FileKind::CharDevice => DEVICE | CHAR_DEVICE,
        FileKind::Fifo => NAMED_PIPE,
        FileKind::File | FileKind::Socket => 0,
    };
    let special = [(0o4000, SET_UID), (0o2000, SET_GID), (0o1000, STICKY)];
    let special = special.iter().filter(|(bit, _)| metadata.mode & bit != 0);
    special.fold(kind | metadata.mode & 0o777, |mode, (_, go)| mode | go)
}

fn nanoseconds(metadata: &Metadata) -> i64 {
    let second = Duration::from_secs(1).as_nanos() as i64;
    let seconds = metadata.mtime.seconds.saturating_mul(second);
    seconds.saturating_add(metadata.mtime.nanos.into())
}

/// The numbers of a device, as the wire splits them.
fn device(metadata: &Metadata) -> (i64, i64) {
    match metadata.kind {
        FileKind::BlockDevice | FileKind::CharDevice => {
            let number = metadata.rdev;
            let minor = (number & 0xff) | ((number >> 12) & 0xfff00);
            (((number >> 8) & 0xfff) as i64, minor as i64)
        }
        _ => (0, 0),
    }
}
