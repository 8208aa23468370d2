//! What BuildKit's daemon can be told and this one cannot do. Nothing of it is
//! ignored: values that ask for what happens anyway are accepted, all others
//! are refused by name.

use std::path::Path;

use super::SettingsError;
use crate::arguments::Arguments;
use crate::config::{Config, OciWorker};

/// Refuses what cannot be done.
pub(super) fn check(arguments: &Arguments, config: &Config) -> Result<(), SettingsError> {
    globals(arguments, config)?;
    if config.worker.oci.enabled == Some(false) {
        return refuse(
            "worker.oci.enabled=false (--oci-worker=false)",
            "there is no other worker; remove it",
        );
    }
    worker(&config.worker.oci)?;
    network(&config.worker.oci)?;
    containerd(arguments, config)
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
        config.proxy_network,
        "proxyNetwork (--proxy-network)",
        "remove it, and confine the daemon's own network instead",
    )?;
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
    let has_devices = config.cdi.disabled != Some(true)
        && (config.cdi.disabled.is_some()
            || !config.cdi.spec_dirs.is_empty()
            || !config.cdi.auto_allowed.is_empty());
    refuse_if(
        has_devices,
        "cdi (--cdi-disabled=false, --cdi-spec-dir)",
        "set cdi.disabled = true or remove the section; CDI devices are not supported",
    )?;
    refuse_if(
        is_set(config.grpc.security_descriptor.as_deref()),
        "grpc.securityDescriptor",
        "remove it; it is for Windows, use grpc.uid and grpc.gid",
    )?;
    refuse_if(
        config.cache.is_some() || config.ghacache.is_some(),
        "cache.gha (ghacache)",
        "remove it; caches on GitHub are not supported",
    )
}

fn worker(worker: &OciWorker) -> Result<(), SettingsError> {
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
        is_set(worker.default_cgroup_parent.as_deref()),
        "worker.oci.defaultCgroupParent",
        "remove it, and start the daemon in the control group that steps should be below",
    )?;
    refuse_if(
        is_set(worker.apparmor_profile.as_deref()),
        "worker.oci.apparmor-profile (--oci-worker-apparmor-profile)",
        "remove it, or confine the daemon itself",
    )?;
    refuse_if(
        worker.selinux,
        "worker.oci.selinux (--oci-worker-selinux)",
        "remove it, or confine the daemon itself",
    )?;
    refuse_if(
        is_set(worker.user_remap_unsupported.as_deref()),
        "worker.oci.userRemapUnsupported",
        "remove it, or start the daemon as an ordinary user",
    )
}

fn network(worker: &OciWorker) -> Result<(), SettingsError> {
    let is_host = match worker.network_mode.as_deref() {
        None | Some("" | "auto") => false,
        Some("host") => true,
        Some(mode) => {
            return refuse(
                &format!("worker.oci.networkMode={mode:?} (--oci-worker-net)"),
                "use \"host\" or \"auto\", which is the same here",
            );
        }
    };
    let given = [
        (
            "cniConfigPath (--oci-cni-config-path)",
            is_path(worker.cni_config_path.as_deref()),
        ),
        (
            "cniBinaryPath (--oci-cni-binary-dir)",
            is_path(worker.cni_binary_path.as_deref()),
        ),
        (
            "cniPoolSize (--oci-cni-pool-size)",
            worker.cni_pool_size.is_some_and(|size| size != 0),
        ),
        ("bridgeName", is_set(worker.bridge_name.as_deref())),
        ("bridgeSubnet", is_set(worker.bridge_subnet.as_deref())),
    ];
    let unusable = given.into_iter().find(|(_, is_given)| *is_given);
    match unusable {
        Some((name, _)) if !is_host => refuse(
            &format!("worker.oci.{name}"),
            "remove it, or set networkMode = \"host\": steps have the host's network or none",
        ),
        _ => Ok(()),
    }
}

/// What is said about a worker that is switched off means nothing, in upstream
/// as here.
fn containerd(arguments: &Arguments, config: &Config) -> Result<(), SettingsError> {
    match (
        config.worker.containerd.enabled,
        arguments.containerd.first_given(),
    ) {
        (Some(true), _) => refuse(
            "worker.containerd.enabled=true (--containerd-worker=true)",
            "set it to false; the worker is worker.oci",
        ),
        (None, Some(flag)) => refuse(
            flag,
            "remove it or add --containerd-worker=false; the worker is the OCI worker",
        ),
        _ => Ok(()),
    }
}
