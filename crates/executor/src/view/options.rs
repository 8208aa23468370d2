//! `mount(8)` options taken apart into kernel flags and filesystem data.

use rustix::mount::{MountFlags, MountPropagationFlags};

/// One mount's options.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) flags: Flags,
    pub(super) bind: Option<Bind>,
    pub(super) propagation: Vec<MountPropagationFlags>,
    pub(super) data: Vec<String>,
}

/// How far a bind mount reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bind {
    Single,
    Recursive,
}

/// Flags that were set and those that were cleared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) set: MountFlags,
    pub(super) cleared: MountFlags,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            set: MountFlags::empty(),
            cleared: MountFlags::empty(),
        }
    }
}

impl Flags {
    /// Whether any option asked for a flag to be on or off.
    pub(super) fn any(self) -> bool {
        !(self.set | self.cleared).is_empty()
    }
}

/// Takes `options` apart; what is no flag is data for the filesystem.
pub(super) fn parse(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options.iter().flat_map(|option| split(option)) {
        if let Some((flag, on)) = flag(option) {
            parsed.flags.set.set(flag, on);
            parsed.flags.cleared.set(flag, !on);
        } else if let Some(propagation) = propagation(option) {
            parsed.propagation.push(propagation);
        } else {
            match option {
                "bind" => parsed.bind = Some(Bind::Single),
                "rbind" => parsed.bind = Some(Bind::Recursive),
                "defaults" | "" => {}
                _ => parsed.data.push(option.to_owned()),
            }
        }
    }
    parsed
}

/// Options may come joined by commas; an escaped comma belongs to a path.
fn split(option: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, byte) in option.bytes().enumerate() {
        if byte == b',' && !escaped {
            parts.push(option.get(start..at).unwrap_or_default());
            start = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    parts.push(option.get(start..).unwrap_or_default());
    parts
}

fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<MountPropagationFlags> {
    Some(match option {
        "private" => MountPropagationFlags::PRIVATE,
        "rprivate" => MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "rslave" => MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        "runbindable" => MountPropagationFlags::UNBINDABLE | MountPropagationFlags::REC,
        _ => return None,
    })
}
