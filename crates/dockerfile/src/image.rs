//! Docker's image configuration, the JSON document that says how to run an image.
//!
//! Field order and omission are those of the reference implementation, because the document's bytes are
//! the image's identity.

use kiln_llb::json::to_go_json;
use kiln_llb::platform;
use oci_spec::image::Platform;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An image configuration. Fields that this crate does not know are dropped, as every builder does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// CPU architecture.
    #[serde(default)]
    pub architecture: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Version of the operating system.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// Features of the operating system.
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_null"
    )]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How the layers came to be.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_null"
    )]
    pub history: Vec<History>,
    /// How to run it.
    #[serde(default, deserialize_with = "or_null")]
    pub config: RunConfig,
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User, by name or id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the image's program listens on.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_null"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment, `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub env: Vec<String>,
    /// Program and leading arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub entrypoint: Vec<String>,
    /// Default arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub cmd: Vec<String>,
    /// Directories for data.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_null"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_null"
    )]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the program to stop.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Only means something on Windows, but is written wherever there is a command.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// How to tell whether the program is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of the image.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub on_build: Vec<String>,
    /// What shell forms of instructions run in.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub shell: Vec<String>,
}

/// The value of sets, which JSON has none of: `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// How to tell whether the program is well. Times are nanoseconds; zero inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` and arguments, or `CMD-SHELL` and a command.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// When a check counts as hung.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time to start up.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks while starting up.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers` in an image; empty as long as there is none.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first; none until layers exist, which is `null`.
    #[serde(default)]
    pub diff_ids: Option<Vec<String>>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Remark; names the builder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// A configuration that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to parse image config: {0}")]
pub struct ConfigError(#[from] serde_json::Error);

impl ImageConfig {
    /// Reads a configuration.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The configuration of an image without layers.
    pub fn empty(platform: &Platform) -> Self {
        let mut config = Self::default();
        config.set_platform(platform);
        config.rootfs.kind = "layers".into();
        config.config.working_dir = "/".into();
        if config.os != "windows" {
            config.config.env = vec![format!("PATH={}", kiln_llb::build::DEFAULT_PATH)];
        }
        config
    }

    /// The document.
    pub fn to_json(&self) -> String {
        to_go_json(self)
    }

    /// The platform it is for.
    pub fn platform(&self) -> Platform {
        let mut result = platform::platform(&self.os, &self.architecture, &self.variant);
        result.set_os_version(Some(self.os_version.clone()).filter(|it| !it.is_empty()));
        result.set_os_features(Some(self.os_features.clone()).filter(|it| !it.is_empty()));
        result
    }

    /// Says which platform it is for.
    pub fn set_platform(&mut self, platform: &Platform) {
        self.os = platform.os().to_string();
        self.architecture = platform.architecture().to_string();
        self.variant = platform.variant().clone().unwrap_or_default();
        self.os_version = platform.os_version().clone().unwrap_or_default();
        self.os_features = platform.os_features().clone().unwrap_or_default();
    }

    /// Sets a variable, in the place where it stands already.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let assignment = format!("{name}={value}");
        let known = self
            .config
            .env
            .iter_mut()
            .find(|it| split_env(it).0 == name);
        match known {
            Some(known) => *known = assignment,
            None => self.config.env.push(assignment),
        }
    }
}

/// Takes `NAME=value` apart.
pub(crate) fn split_env(assignment: &str) -> (&str, &str) {
    assignment.split_once('=').unwrap_or((assignment, ""))
}

/// Seconds since the epoch as RFC 3339; none if a date cannot say it.
pub(crate) fn format_time(epoch: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(epoch).ok()?;
    Some(time.to_string())
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go writes an empty list as `null` and reads it back.
fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
