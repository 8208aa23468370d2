//! Capabilities of a step.

use rustix::thread::CapabilitySet;

use crate::Security;

/// Names in an OCI specification by number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a sandboxed step keeps: the field's default set.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The sets of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capabilities {
    /// Bounding, permitted and effective.
    pub(crate) granted: CapabilitySet,
    /// Inheritable and ambient: what survives an exec by a user other than root.
    pub(crate) inherited: CapabilitySet,
}

impl Capabilities {
    /// Sets for `security`, never more than this process has itself.
    pub(crate) fn of(security: Security) -> rustix::io::Result<Capabilities> {
        let own = rustix::thread::capabilities(None)?.permitted;
        Ok(match security {
            Security::Sandbox => Capabilities {
                granted: DEFAULT.intersection(own),
                inherited: CapabilitySet::empty(),
            },
            Security::Insecure => Capabilities {
                granted: own,
                inherited: own,
            },
        })
    }
}

/// Names of the capabilities in `set`, as an OCI specification has them.
pub(crate) fn names(set: CapabilitySet) -> Vec<&'static str> {
    NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| set.bits() & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// Every single capability that the bounding set may have.
pub(crate) fn each() -> impl Iterator<Item = CapabilitySet> {
    (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit))
}
