//! Device nodes of a step's `/dev`, and the devices it may open.

use std::fs;
use std::path::{Path, PathBuf};

use crate::view::user::Identity;
use crate::{Device, DeviceKind as Kind, Security};

/// A device node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Path inside.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Where the host may have it.
    pub(crate) host: PathBuf,
}

/// Access to devices; what no rule grants is denied. No number means any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    /// Any of `r`, `w` and `m`.
    pub(crate) access: String,
}

/// Links that the field makes in `/dev`.
pub(crate) const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// In every step's `/dev`: name, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("random", 1, 8),
    ("full", 1, 7),
    ("tty", 5, 0),
    ("zero", 1, 5),
    ("urandom", 1, 9),
];

/// In an insecure step's `/dev` as well.
const INSECURE: [(&str, u32, u32); 6] = [
    ("kmsg", 1, 11),
    ("cuse", 10, 203),
    ("fuse", 10, 229),
    ("kvm", 10, 232),
    ("net/tun", 10, 200),
    ("loop-control", 10, 237),
];

/// Loop devices beyond those in use that an insecure step finds.
const SPARE_LOOPS: u32 = 8;

/// The nodes of a step's `/dev`, each path once: its own in place of those that every step has.
pub(crate) fn nodes(security: Security, devices: &[Device], user: &Identity) -> Vec<Node> {
    let standard = DEFAULT.iter();
    let standard = standard.map(|(name, major, minor)| character(name, *major, *minor));
    let mut nodes: Vec<Node> = standard.collect();
    for node in extra_nodes(security, devices, user) {
        nodes.retain(|known| known.path != node.path);
        nodes.push(node);
    }
    nodes
}

/// The nodes that a step has beyond those that every step has.
pub(crate) fn extra_nodes(security: Security, devices: &[Device], user: &Identity) -> Vec<Node> {
    let mut nodes = Vec::new();
    if security == Security::Insecure {
        nodes.extend(
            INSECURE
                .iter()
                .map(|(name, major, minor)| character(name, *major, *minor)),
        );
        nodes.extend((0..loops_in_use() + SPARE_LOOPS).map(|minor| Node {
            kind: Kind::Block,
            ..character(&format!("loop{minor}"), 7, minor)
        }));
    }
    nodes.extend(devices.iter().map(|device| Node {
        path: device.target.to_string_lossy().into_owned(),
        kind: device.kind,
        major: device.major,
        minor: device.minor,
        mode: device.mode,
        uid: device.uid.unwrap_or(user.uid),
        gid: device.gid.unwrap_or(user.gid),
        host: device.host.clone(),
    }));
    nodes
}

/// What a step may do with device nodes, also with such as it makes itself.
pub(crate) fn rules(security: Security, devices: &[Device]) -> Vec<Rule> {
    let any = |kind, access: &str| Rule {
        kind,
        major: None,
        minor: None,
        access: access.to_owned(),
    };
    if security == Security::Insecure {
        return vec![any(Kind::Character, "rwm"), any(Kind::Block, "rwm")];
    }
    let mut rules = vec![any(Kind::Character, "m"), any(Kind::Block, "m")];
    let mut allow = |kind, major, minor, access: &str| {
        rules.push(Rule {
            kind,
            major: Some(major),
            minor,
            access: access.to_owned(),
        });
    };
    for (_, major, minor) in DEFAULT {
        allow(Kind::Character, major, Some(minor), "rwm");
    }
    allow(Kind::Character, 5, Some(1), "rwm"); // console
    allow(Kind::Character, 5, Some(2), "rwm"); // ptmx
    allow(Kind::Character, 136, None, "rwm"); // pts
    for device in devices {
        let (major, minor) = (device.major, Some(device.minor));
        allow(device.kind, major, minor, &device.permissions);
    }
    rules
}

fn character(name: &str, major: u32, minor: u32) -> Node {
    Node {
        path: format!("/dev/{name}"),
        kind: Kind::Character,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        host: Path::new("/dev").join(name),
    }
}

/// One more than the highest loop device that the kernel has.
fn loops_in_use() -> u32 {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        entry
            .file_name()
            .to_str()?
            .strip_prefix("loop")?
            .parse::<u32>()
            .ok()
    });
    numbers.max().map_or(0, |highest| highest + 1)
}
