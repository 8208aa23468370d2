//! Who builds: a daemon's workers and its version.

use std::collections::BTreeMap;
use std::time::Duration;

use kiln_protocol::{control, pb, types};

use crate::{Client, ClientError};

/// A daemon's own description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Where its code lives.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The commit it was made from.
    pub revision: String,
    /// Version of the built-in Dockerfile frontend; empty if it does not tell.
    pub dockerfile: String,
}

/// A platform that a worker runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// `amd64`, …
    pub architecture: String,
    /// `linux`, …
    pub os: String,
    /// `v7`, …
    pub variant: String,
    /// For Windows.
    pub os_version: String,
    /// For Windows.
    pub os_features: Vec<String>,
}

/// A rule of a worker's garbage collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcRule {
    /// Includes internal records and frontends.
    pub all: bool,
    /// Filters of which one must match.
    pub filters: Vec<String>,
    /// Keeps what was used within this time.
    pub keep_duration: Duration,
    /// Bytes that are never removed.
    pub reserved_space: i64,
    /// Bytes that may be used.
    pub max_used_space: i64,
    /// Bytes of the disk to keep free.
    pub min_free_space: i64,
}

/// A device that steps may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// `vendor.example/class=name`.
    pub name: String,
    /// Steps get it without being allowed to.
    pub auto_allow: bool,
    /// What its vendor says about it.
    pub annotations: BTreeMap<String, String>,
    /// It is set up when a step needs it.
    pub on_demand: bool,
}

/// One worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worker {
    /// Names it.
    pub id: String,
    /// What filters match on.
    pub labels: BTreeMap<String, String>,
    /// What it runs, the native one first.
    pub platforms: Vec<Platform>,
    /// How it collects garbage.
    pub gc_rules: Vec<GcRule>,
    /// Its software.
    pub version: Version,
    /// Devices it knows.
    pub devices: Vec<Device>,
}

impl Client {
    /// Workers that one of the filters matches; all if there are none.
    pub async fn workers(&self, filters: &[String]) -> Result<Vec<Worker>, ClientError> {
        let request = control::ListWorkersRequest {
            filter: filters.to_vec(),
        };
        let answer = self.control().list_workers(request).await;
        let answer = answer.map_err(|status| self.failed("failed to list workers", status))?;
        let records = answer.into_inner().record.into_iter();
        Ok(records.map(Worker::from).collect())
    }

    /// The daemon's version.
    pub async fn info(&self) -> Result<Version, ClientError> {
        let answer = self.control().info(control::InfoRequest {}).await;
        let answer = answer.map_err(|status| self.failed("failed to call info", status))?;
        let version = answer.into_inner().buildkit_version;
        Ok(version.unwrap_or_default().into())
    }
}

impl From<types::BuildkitVersion> for Version {
    fn from(version: types::BuildkitVersion) -> Self {
        Self {
            package: version.package,
            version: version.version,
            revision: version.revision,
            dockerfile: version.dockerfile_version,
        }
    }
}

impl From<types::WorkerRecord> for Worker {
    fn from(record: types::WorkerRecord) -> Self {
        Self {
            id: record.id,
            labels: record.labels,
            platforms: record.platforms.into_iter().map(Into::into).collect(),
            gc_rules: record.gc_policy.into_iter().map(Into::into).collect(),
            version: record.buildkit_version.unwrap_or_default().into(),
            devices: record.cdi_devices.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::Platform> for Platform {
    fn from(platform: pb::Platform) -> Self {
        Self {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            os_version: platform.os_version,
            os_features: platform.os_features,
        }
    }
}

impl From<types::GcPolicy> for GcRule {
    fn from(policy: types::GcPolicy) -> Self {
        Self {
            all: policy.all,
            filters: policy.filters,
            keep_duration: Duration::from_nanos(policy.keep_duration.try_into().unwrap_or(0)),
            reserved_space: policy.reserved_space,
            max_used_space: policy.max_used_space,
            min_free_space: policy.min_free_space,
        }
    }
}

impl From<types::CdiDevice> for Device {
    fn from(device: types::CdiDevice) -> Self {
        Self {
            name: device.name,
            auto_allow: device.auto_allow,
            annotations: device.annotations,
            on_demand: device.on_demand,
        }
    }
}
