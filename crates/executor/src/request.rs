//! What to run: plain data, nothing in it is open or alive.

use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::{fmt, fs, io};

use crate::network::NetworkNamespace;

/// One process, its root filesystem and everything that surrounds it.
///
/// Start from [`ExecRequest::new`] and set what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// Names the step in cgroups and runtime state; ASCII letters and digits only.
    pub id: String,
    /// How to mount the root filesystem; several mounts are stacked in this order.
    pub rootfs: Vec<Mount>,
    /// Whether the process may write to its root filesystem.
    pub root_access: RootAccess,
    /// Program and arguments; the program is looked up in `PATH` of [`ExecRequest::env`].
    pub args: Vec<String>,
    /// `NAME=value` entries, handed over as they are.
    pub env: Vec<String>,
    /// Working directory, absolute; made, owned by the user, where it does not exist.
    pub cwd: PathBuf,
    /// `user`, `uid`, `user:group` or `uid:gid` as in a Dockerfile's `USER`, resolved against the root
    /// filesystem's `/etc/passwd` and `/etc/group`; empty means root.
    pub user: String,
    /// Group ids in addition to those that `/etc/group` gives the user.
    pub additional_gids: Vec<u32>,
    /// Host name; empty means `buildkitsandbox`.
    pub hostname: String,
    /// What is mounted inside the root filesystem, in this order.
    pub mounts: Vec<MountPoint>,
    /// Read-only files that are in memory only, such as secrets; mounted after [`ExecRequest::mounts`].
    pub files: Vec<MemoryFile>,
    /// The network that the process sees.
    pub network: Network,
    /// Certificates, as PEM text, that the root filesystem's programs trust while the step runs: they stand in its
    /// bundle of certificates for that time, if it has one, and nothing of it is left afterwards.
    pub trusted_authority: Option<String>,
    /// How much the process is trusted.
    pub security: Security,
    /// Limits; empty leaves those of the engine.
    pub rlimits: Vec<Rlimit>,
    /// Overrides the executor's parent of step cgroups, a path from the cgroup root.
    pub cgroup_parent: Option<String>,
    /// Memory and CPU limits.
    pub resources: Resources,
    /// Lines added to `/etc/hosts`.
    pub extra_hosts: Vec<HostAddress>,
    /// Overrides parts of `/etc/resolv.conf`.
    pub dns: Dns,
    /// Devices made available inside.
    pub devices: Vec<Device>,
    /// Whether the process gets a terminal.
    pub terminal: Terminal,
    /// How far empty files and directories made as mount points are removed afterwards.
    pub stubs: StubRemoval,
}

impl ExecRequest {
    /// A request with the defaults of a build step: root user, `/` as working directory, sandboxed.
    pub fn new<A: Into<String>>(
        id: impl Into<String>,
        rootfs: Vec<Mount>,
        args: impl IntoIterator<Item = A>,
    ) -> ExecRequest {
        ExecRequest {
            id: id.into(),
            rootfs,
            root_access: RootAccess::ReadWrite,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: String::new(),
            additional_gids: Vec::new(),
            hostname: String::new(),
            mounts: Vec::new(),
            files: Vec::new(),
            network: Network::Sandbox,
            trusted_authority: None,
            security: Security::Sandbox,
            rlimits: Vec::new(),
            cgroup_parent: None,
            resources: Resources::default(),
            extra_hosts: Vec::new(),
            dns: Dns::default(),
            devices: Vec::new(),
            terminal: Terminal::None,
            stubs: StubRemoval::Leaf,
        }
    }
}

/// One mount in the field's form: a filesystem type, a source and `mount(8)` options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `overlay`, `bind`, `tmpfs`, or any filesystem of the kernel.
    pub kind: String,
    /// Directory or file for `bind`, else what shows as the device.
    pub source: PathBuf,
    /// Options; flags such as `ro` or `nosuid` and data such as `lowerdir=…` or `size=…` mixed.
    pub options: Vec<String>,
}

impl Mount {
    /// A recursive bind mount of `source`.
    pub fn bind(source: impl Into<PathBuf>) -> Mount {
        Mount {
            kind: "bind".to_owned(),
            source: source.into(),
            options: vec!["rbind".to_owned()],
        }
    }

    /// A tmpfs with the given options.
    pub fn tmpfs<O: Into<String>>(options: impl IntoIterator<Item = O>) -> Mount {
        Mount {
            kind: "tmpfs".to_owned(),
            source: PathBuf::from("tmpfs"),
            options: options.into_iter().map(Into::into).collect(),
        }
    }
}

/// A mount inside the root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where, from the root of the root filesystem; made where missing.
    pub target: PathBuf,
    /// What; several mounts are stacked in this order.
    pub sources: Vec<Mount>,
    /// A path inside the source that is shown instead of the whole; resolved inside the source.
    pub selector: Option<PathBuf>,
    /// Whether the process may write to it.
    pub access: Access,
}

impl MountPoint {
    /// A writable mount of `source` at `target`.
    pub fn new(target: impl Into<PathBuf>, source: Mount) -> MountPoint {
        MountPoint {
            target: target.into(),
            sources: vec![source],
            selector: None,
            access: Access::ReadWrite,
        }
    }

    /// The same, not writable.
    pub fn read_only(target: impl Into<PathBuf>, source: Mount) -> MountPoint {
        MountPoint {
            access: Access::ReadOnly,
            ..MountPoint::new(target, source)
        }
    }
}

/// A file that never touches a disk and is gone with the step.
#[derive(Clone, PartialEq, Eq)]
pub struct MemoryFile {
    /// Where, from the root of the root filesystem.
    pub target: PathBuf,
    /// Content.
    pub data: Vec<u8>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for MemoryFile {
    /// Without the content, which is likely to be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile")
            .field("target", &self.target)
            .field("size", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// Whether a mount may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the source itself allows.
    ReadWrite,
    /// Never.
    ReadOnly,
}

/// Whether the root filesystem may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootAccess {
    /// Writable.
    ReadWrite,
    /// Read-only for the process; mount points may still be made beforehand.
    ReadOnly,
}

/// The network of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The executor's default network, decided by its `SandboxNetwork` option.
    Sandbox,
    /// The host's network namespace.
    Host,
    /// A loopback interface and nothing else.
    None,
    /// A namespace that is there already; [`crate::network::isolated_with_listener`] makes one.
    Joined(NetworkNamespace),
}

impl Network {
    /// Whether the step's network namespace belongs to our user namespace, so that its sysfs can be mounted.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Network::None | Network::Joined(_))
    }
}

/// How much a step is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Default capabilities, seccomp profile, masked paths, a short list of devices.
    Sandbox,
    /// Every capability the engine has, no seccomp, nothing masked, all devices.
    Insecure,
}

/// One resource limit, `name` as in LLB: `nofile`, `core`, `memlock`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// Lower-case name without the `RLIMIT_` prefix.
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// cgroup limits of one step; zero and empty mean unlimited, as in LLB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of memory and swap together; -1 for unlimited swap.
    pub memory_swap: i64,
    /// Relative CPU weight in cgroup v1's unit.
    pub cpu_shares: u64,
    /// Microseconds of CPU time per period.
    pub cpu_quota: i64,
    /// Length of the period in microseconds.
    pub cpu_period: u64,
    /// CPUs, such as `0-3,5`.
    pub cpuset_cpus: String,
    /// Memory nodes, such as `0`.
    pub cpuset_mems: String,
}

/// One line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// Name.
    pub host: String,
    /// Address.
    pub address: IpAddr,
}

/// Overrides for `/etc/resolv.conf`; what is empty is taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers.
    pub nameservers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

impl Dns {
    /// These settings where `other` says nothing, else the other's.
    #[must_use]
    pub fn overridden_by(&self, other: &Dns) -> Dns {
        let pick = |own: &[String], other: &[String]| {
            if other.is_empty() {
                own.to_vec()
            } else {
                other.to_vec()
            }
        };
        Dns {
            nameservers: if other.nameservers.is_empty() {
                self.nameservers.clone()
            } else {
                other.nameservers.clone()
            },
            search: pick(&self.search, &other.search),
            options: pick(&self.options, &other.options),
        }
    }
}

/// A device that the step may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path on the host, for where the step can have no node of its own.
    pub host: PathBuf,
    /// Path inside, below `/dev`.
    pub target: PathBuf,
    /// Character or block device.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits of the node.
    pub mode: u32,
    /// The node's owner; the step's user if absent.
    pub uid: Option<u32>,
    /// The node's group; that of the step's user if absent.
    pub gid: Option<u32>,
    /// What the step may do with the device: any of `r`, `w` and `m`.
    pub permissions: String,
}

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl Device {
    /// A device of the host under the same path inside, with everything allowed.
    pub fn of_host(host: impl Into<PathBuf>) -> io::Result<Self> {
        let host = host.into();
        let metadata = fs::symlink_metadata(&host)?;
        let kind = match metadata.file_type() {
            kind if kind.is_char_device() => DeviceKind::Character,
            kind if kind.is_block_device() => DeviceKind::Block,
            _ => return Err(io::Error::other("not a device node")),
        };
        Ok(Self {
            target: host.clone(),
            host,
            kind,
            major: rustix::fs::major(metadata.rdev()),
            minor: rustix::fs::minor(metadata.rdev()),
            mode: metadata.mode() & 0o7777,
            uid: None,
            gid: None,
            permissions: "rwm".to_owned(),
        })
    }
}

/// Whether a step has a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Three separate streams.
    None,
    /// A pseudo terminal; everything written arrives on stdout.
    Pty,
}

/// Which of the files and directories made for mount points go away after the run, if still empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StubRemoval {
    /// The mount points themselves.
    Leaf,
    /// The mount points and the parents made for them.
    Recursive,
}
