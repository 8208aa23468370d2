//! The containerd worker: whether there is one, and whether builds use it.

use std::collections::BTreeMap;

use kiln_containerd::{Address, DEFAULT_NAMESPACE, DEFAULT_SNAPSHOTTER};
use kiln_engine::ContainerdImages;

use super::SettingsError;
use crate::config::Config;

/// A containerd worker that is not switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdSettings {
    /// Where images are.
    pub images: ContainerdImages,
    /// Whether the daemon can do without.
    pub presence: Presence,
    /// Labels of the worker beside those it has anyway.
    pub labels: BTreeMap<String, String>,
    /// Platforms to announce instead of the detected ones.
    pub platforms: Vec<kiln_llb::pb::Platform>,
}

/// Whether the daemon can do without containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It starts with containerd only.
    Required,
    /// The worker is there if containerd answers.
    IfThere,
}

/// The worker as configured.
pub(super) fn settings(
    config: &Config,
    warnings: &mut Vec<String>,
) -> Result<Option<ContainerdSettings>, SettingsError> {
    let worker = &config.worker.containerd;
    if worker.enabled == Some(false) {
        return Ok(None);
    }
    let is_first = config.worker.oci.enabled == Some(false);
    if worker.enabled == Some(true) && !is_first {
        warnings.push(
            "worker.containerd is on, but builds use worker.oci, which comes first: \
             switch that off (--oci-worker=false) to have images in containerd"
                .into(),
        );
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let address = match given(&worker.address) {
        Some(text) => text.parse().map_err(|error| {
            SettingsError::Invalid(format!(
                "worker.containerd.address (--containerd-worker-addr): {error}"
            ))
        })?,
        None => Address::default(),
    };
    let snapshotter = given(&worker.snapshotter);
    Ok(Some(ContainerdSettings {
        images: ContainerdImages {
            address,
            namespace: given(&worker.namespace).unwrap_or_else(|| DEFAULT_NAMESPACE.into()),
            snapshotter: snapshotter.unwrap_or_else(|| DEFAULT_SNAPSHOTTER.into()),
        },
        presence: if is_first || worker.enabled == Some(true) {
            Presence::Required
        } else {
            Presence::IfThere
        },
        labels: worker.labels.clone(),
        platforms: super::platforms(&worker.platforms)?,
    }))
}

/// Where images of builds are kept: the first worker that is on does all builds, and the OCI worker comes first. Puts
/// the section of that worker where everything else looks for it.
pub(super) fn of_builds(
    config: &mut Config,
    containerd: Option<&ContainerdSettings>,
) -> Option<ContainerdImages> {
    let containerd = containerd.filter(|_| config.worker.oci.enabled == Some(false))?;
    let rootless = config.worker.oci.rootless;
    config.worker.oci = config.worker.containerd.without_images();
    config.worker.oci.rootless = config.worker.oci.rootless.or(rootless);
    Some(containerd.images.clone())
}
