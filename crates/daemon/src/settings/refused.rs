//! What BuildKit's daemon can be told and this one cannot do. Nothing of it is
//! ignored: values that ask for what happens anyway are accepted, all others
//! are refused by name.

use std::path::Path;

use super::SettingsError;
use crate::arguments::Arguments;
use crate::config::{Config, ContainerdWorker, OciWorker};

/// Refuses what cannot be done. What is said about a worker that is switched off means nothing, in upstream as here.
pub(super) fn check(arguments: &Arguments, config: &Config) -> Result<(), SettingsError> {
    globals(arguments, config)?;
    let (oci, containerd) = (&config.worker.oci, &config.worker.containerd);
    if (oci.enabled, containerd.enabled) == (Some(false), Some(false)) {
        return refuse(
            "worker.oci.enabled=false (--oci-worker=false)",
            "there is no other worker; remove it, or remove --containerd-worker=false",
        );
    }
    if oci.enabled != Some(false) {
        snapshots(oci)?;
        worker(oci, Section("oci"))?;
        network(oci, Section("oci"))?;
    }
    if containerd.enabled != Some(false) {
        runtime(containerd)?;
        let rest = containerd.without_images();
        worker(&rest, Section("containerd"))?;
        network(&rest, Section("containerd"))?;
    }
    Ok(())
}

/// The section of a worker.
#[derive(Clone, Copy)]
struct Section(&'static str);

impl Section {
    /// A key, and the flag that does the same: `%` in it is the section's name.
    fn option(self, key: &str, flag: &str) -> String {
        let key = format!("worker.{}.{key}", self.0);
        match flag {
            "" => key,
            flag => format!("{key} (--{})", flag.replace('%', self.0)),
        }
    }
}

fn refuse(what: &str, instead: &str) -> Result<(), SettingsError> {
    Err(SettingsError::Refused {
        what: what.into(),
        instead: instead.into(),
    })
}

fn refuse_if(is_set: bool, what: &str, instead: &str) -> Result<(), SettingsError> {
    if is_set {
        refuse(what, instead)
    } else {
        Ok(())
    }
}

fn is_set(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn is_path(path: Option<&Path>) -> bool {
    path.is_some_and(|path| !path.as_os_str().is_empty())
}

fn globals(arguments: &Arguments, config: &Config) -> Result<(), SettingsError> {
    refuse_if(
        arguments.save_cache_debug == Some(true),
        "--save-cache-debug",
        "remove it",
    )?;
    refuse_if(
        is_path(config.otel.socket_path.as_deref()),
        "otel.socketPath (--otel-socket-path)",
        "remove it; steps are given no socket for traces",
    )?;
    refuse_if(
        is_set(config.grpc.security_descriptor.as_deref()),
        "grpc.securityDescriptor",
        "remove it; it is for Windows, use grpc.uid and grpc.gid",
    )?;
    refuse_if(
        config.cache.is_some() || config.ghacache.is_some(),
        "cache.gha (ghacache)",
        "remove it; signed caches on GitHub are not supported",
    )
}

fn snapshots(worker: &OciWorker) -> Result<(), SettingsError> {
    match worker.snapshotter.as_deref() {
        None | Some("" | "auto" | "overlayfs") => {}
        Some(name) => refuse(
            &format!("worker.oci.snapshotter={name:?} (--oci-worker-snapshotter)"),
            "use \"auto\" or \"overlayfs\"",
        )?,
    }
    refuse_if(
        is_path(worker.proxy_snapshotter_path.as_deref()),
        "worker.oci.proxySnapshotterPath (--oci-worker-proxy-snapshotter-path)",
        "remove it; layers are stacked by overlayfs",
    )?;
    refuse_if(
        worker
            .stargz_snapshotter
            .as_ref()
            .is_some_and(|table| !table.is_empty()),
        "worker.oci.stargzSnapshotter",
        "remove the table; layers are stacked by overlayfs",
    )?;
    refuse_if(
        worker.no_process_sandbox,
        "worker.oci.noProcessSandbox (--oci-worker-no-process-sandbox)",
        "remove it; steps always have processes of their own",
    )?;
    refuse_if(
        is_set(worker.user_remap_unsupported.as_deref()),
        "worker.oci.userRemapUnsupported",
        "remove it, or start the daemon as an ordinary user",
    )
}

/// Runtimes other than the one that upstream takes by default.
fn runtime(worker: &ContainerdWorker) -> Result<(), SettingsError> {
    const DEFAULT: &str = "io.containerd.runc.v2";
    let runtime = &worker.runtime;
    let is_other = is_set(runtime.name.as_deref().filter(|name| *name != DEFAULT))
        || is_path(runtime.path.as_deref())
        || !runtime.options.is_empty();
    refuse_if(
        is_other,
        "worker.containerd.runtime (--containerd-worker-runtime)",
        "remove it; containerd keeps images only, steps run in the built-in executor",
    )
}

fn worker(worker: &OciWorker, section: Section) -> Result<(), SettingsError> {
    refuse_if(
        is_set(worker.default_cgroup_parent.as_deref()),
        &section.option("defaultCgroupParent", ""),
        "remove it, and start the daemon in the control group that steps should be below",
    )?;
    refuse_if(
        is_set(worker.apparmor_profile.as_deref()),
        &section.option("apparmor-profile", "%-worker-apparmor-profile"),
        "remove it, or confine the daemon itself",
    )?;
    refuse_if(
        worker.selinux,
        &section.option("selinux", "%-worker-selinux"),
        "remove it, or confine the daemon itself",
    )
}

fn network(worker: &OciWorker, section: Section) -> Result<(), SettingsError> {
    let is_host = match worker.network_mode.as_deref() {
        None | Some("" | "auto") => false,
        Some("host") => true,
        Some(mode) => {
            return refuse(
                &section.option(&format!("networkMode={mode:?}"), "%-worker-net"),
                "use \"host\" or \"auto\", which is the same here",
            );
        }
    };
    let given = [
        (
            "cniConfigPath",
            "%-cni-config-path",
            is_path(worker.cni_config_path.as_deref()),
        ),
        (
            "cniBinaryPath",
            "%-cni-binary-dir",
            is_path(worker.cni_binary_path.as_deref()),
        ),
        (
            "cniPoolSize",
            "%-cni-pool-size",
            worker.cni_pool_size.is_some_and(|size| size != 0),
        ),
        ("bridgeName", "", is_set(worker.bridge_name.as_deref())),
        ("bridgeSubnet", "", is_set(worker.bridge_subnet.as_deref())),
    ];
    let unusable = given.into_iter().find(|(_, _, is_given)| *is_given);
    match unusable {
        Some((key, flag, _)) if !is_host => refuse(
            &section.option(key, flag),
            "remove it, or set networkMode = \"host\": steps have the host's network or none",
        ),
        _ => Ok(()),
    }
}
