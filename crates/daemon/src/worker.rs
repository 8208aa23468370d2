//! The worker as clients see it: its name, labels and platforms.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use kiln_engine::{DeviceInfo, Engine, WorkerInfo};
use kiln_llb::{pb, platform};
use kiln_protocol::types::{BuildkitVersion, CdiDevice, GcPolicy, WorkerRecord};
use kiln_store::filter::Filters;

use crate::containerd::Found;
use crate::daemon::DaemonError;
use crate::settings::Settings;
use crate::version;

/// Prefix of labels that upstream defines.
const LABEL: &str = "org.mobyproject.buildkit.worker.";

/// Emulators register themselves here.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// What clients are told about the worker.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    /// Names the worker; the same after a restart.
    pub(crate) id: String,
    labels: BTreeMap<String, String>,
    /// What the configuration says instead of what is found.
    platforms: Vec<pb::Platform>,
    /// The rules of garbage collection.
    gc: Vec<kiln_engine::GcPolicy>,
}

/// Describes the workers of a daemon whose engine is open. The first does all builds.
pub(crate) fn describe(
    engine: &Engine,
    settings: &Settings,
    containerd: Option<&Found>,
) -> Result<Vec<Worker>, DaemonError> {
    let root = &settings.engine.root;
    let gc = engine.gc_policies()?;
    let mut workers = Vec::new();
    if settings.engine.images.is_none() {
        let own = [
            ("executor", "oci"),
            ("snapshotter", "overlayfs"),
            ("oci.process-mode", "sandbox"),
        ];
        workers.push(Worker {
            id: name_of(root)?,
            labels: labels(&own, &settings.labels),
            platforms: settings.platforms.clone(),
            gc: gc.clone(),
        });
    }
    if let Some(Found { settings, uuid }) = containerd {
        let images = &settings.images;
        let own = [
            ("executor", "containerd"),
            ("snapshotter", &images.snapshotter),
            ("containerd.uuid", uuid),
            ("containerd.namespace", &images.namespace),
        ];
        workers.push(Worker {
            id: name_of(&root.join(format!("containerd-{}", images.snapshotter)))?,
            labels: labels(&own, &settings.labels),
            platforms: settings.platforms.clone(),
            gc,
        });
    }
    Ok(workers)
}

/// The labels of a worker: its own, those that all have, and the configuration's.
fn labels(own: &[(&str, &str)], more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let names = rustix::system::uname();
    let hostname = names.nodename().to_string_lossy();
    let all = [
        ("hostname", &*hostname),
        ("network", "host"),
        ("selinux.enabled", "false"),
    ];
    let labels = own.iter().chain(&all);
    let labels = labels.map(|(name, value)| (format!("{LABEL}{name}"), (*value).to_owned()));
    labels.chain(more.clone()).collect()
}

fn name_of(directory: &Path) -> Result<String, DaemonError> {
    let name = fs::create_dir_all(directory).and_then(|()| worker_id(directory));
    name.map_err(|source| DaemonError::System {
        action: "cannot keep the worker's name in the state directory",
        source,
    })
}

impl Worker {
    /// The worker as a message. Platforms are looked up each time, so that
    /// emulators count as soon as they are installed.
    pub(crate) fn record(&self, devices: &[DeviceInfo]) -> WorkerRecord {
        WorkerRecord {
            id: self.id.clone(),
            labels: self.labels.clone(),
            platforms: self.platforms(),
            gc_policy: self.gc.iter().map(policy).collect(),
            buildkit_version: Some(buildkit_version()),
            cdi_devices: devices.iter().map(device).collect(),
        }
    }

    /// What frontends are told.
    pub(crate) fn info(&self) -> WorkerInfo {
        WorkerInfo {
            id: self.id.clone(),
            labels: self.labels.clone(),
        }
    }

    /// Whether a client's filters leave the worker in.
    pub(crate) fn matches(&self, filters: &Filters) -> bool {
        self.info().matches(filters)
    }

    /// The platforms in one line.
    pub(crate) fn platform_names(&self) -> String {
        let platforms = self.platforms();
        let names = platforms
            .iter()
            .map(|wire| platform::format(&platform::from_pb(wire)));
        names.collect::<Vec<_>>().join(",")
    }

    fn platforms(&self) -> Vec<pb::Platform> {
        if !self.platforms.is_empty() {
            return self.platforms.clone();
        }
        detect().iter().map(platform::to_pb).collect()
    }
}

/// What the daemon says it is.
pub(crate) fn buildkit_version() -> BuildkitVersion {
    BuildkitVersion {
        package: version::PACKAGE.into(),
        version: version::BUILDKIT.into(),
        revision: String::new(),
        dockerfile_version: version::DOCKERFILE.into(),
    }
}

fn device(device: &DeviceInfo) -> CdiDevice {
    CdiDevice {
        name: device.name.clone(),
        auto_allow: device.auto_allowed,
        annotations: device.annotations.clone(),
        on_demand: false,
    }
}

fn policy(round: &kiln_engine::GcPolicy) -> GcPolicy {
    let bytes = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    GcPolicy {
        all: round.all,
        filters: round.filters.clone(),
        keep_duration: i64::try_from(round.keep_duration.as_nanos()).unwrap_or(i64::MAX),
        reserved_space: bytes(round.reserved_space),
        max_used_space: bytes(round.max_used_space),
        min_free_space: bytes(round.min_free_space),
    }
}

/// The name, made when there is none. Several daemons on one root share it.
fn worker_id(root: &Path) -> io::Result<String> {
    let path = root.join("workerid");
    match fs::read_to_string(&path) {
        Ok(id) if !id.is_empty() => return Ok(id),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let id = kiln_session::SessionId::random();
    let mut file = tempfile::NamedTempFile::new_in(root)?;
    file.write_all(id.as_str().as_bytes())?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(id.as_str().to_owned()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read_to_string(&path)
        }
        Err(error) => Err(error.error),
    }
}

/// The machine's own platform first, then what else it runs.
fn detect() -> Vec<oci_spec::image::Platform> {
    let host = platform::host();
    let mut platforms = vec![host.clone()];
    let variants = own_variants().iter().map(|variant| ("amd64", *variant));
    let others = variants.chain(emulated()).map(|(architecture, variant)| {
        platform::normalize(&platform::platform("linux", architecture, variant))
    });
    for other in others {
        if !platforms.contains(&other) {
            platforms.push(other);
        }
    }
    platforms
}

/// Microarchitecture levels of this processor.
#[cfg(target_arch = "x86_64")]
fn own_variants() -> &'static [&'static str] {
    macro_rules! has {
        ($($feature:tt)*) => { true $(&& std::is_x86_feature_detected!($feature))* };
    }
    if !has!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "cmpxchg16b") {
        &[]
    } else if !has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe") {
        &["v2"]
    } else if !has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl") {
        &["v2", "v3"]
    } else {
        &["v2", "v3", "v4"]
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn own_variants() -> &'static [&'static str] {
    &[]
}

/// Foreign platforms that the kernel runs, by itself or through emulators.
fn emulated() -> Vec<(&'static str, &'static str)> {
    const EMULATORS: &[(&str, &[(&str, &str)])] = &[
        ("qemu-x86_64", &[("amd64", "")]),
        ("qemu-aarch64", &[("arm64", "")]),
        ("qemu-riscv64", &[("riscv64", "")]),
        ("qemu-ppc64", &[("ppc64", "")]),
        ("qemu-ppc64le", &[("ppc64le", "")]),
        ("qemu-s390x", &[("s390x", "")]),
        ("qemu-i386", &[("386", "")]),
        ("qemu-mips64el", &[("mips64le", "")]),
        ("qemu-mips64", &[("mips64", "")]),
        ("qemu-loongarch64", &[("loong64", "")]),
        ("qemu-arm", &[("arm", "v7"), ("arm", "v6")]),
    ];
    let is_enabled = |name: &str| {
        fs::read_to_string(Path::new(BINFMT).join(name))
            .is_ok_and(|entry| entry.starts_with("enabled"))
    };
    // Only kernels that run 32-bit programs have this switch.
    let runs_386 = cfg!(target_arch = "x86_64") && Path::new("/proc/sys/abi/vsyscall32").exists();
    let found = EMULATORS.iter().filter(|(name, _)| is_enabled(name));
    runs_386
        .then_some(("386", ""))
        .into_iter()
        .chain(found.flat_map(|(_, platforms)| platforms.iter().copied()))
        .collect()
}
