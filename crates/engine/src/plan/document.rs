//! A plan as data.

use serde::{Deserialize, Serialize};

use crate::explain::StepKind;

/// The version of the form.
const VERSION: u32 = 1;

/// What a build would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The steps, inputs before their users.
    pub steps: Vec<PlannedStep>,
    /// Layers that would come here.
    pub pulls: Vec<Pull>,
    /// What would be written or pushed.
    pub outputs: Vec<PlannedOutput>,
    /// Caches that would be written.
    pub cache_exports: Vec<PlannedCacheExport>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            version: VERSION,
            steps: Vec::new(),
            pulls: Vec::new(),
            outputs: Vec::new(),
            cache_exports: Vec::new(),
        }
    }
}

/// A step and what would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// The digest of its definition.
    pub digest: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: StepKind,
    /// The steps that it builds on, by their places in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<usize>,
    /// What would become of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What would become of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "fate",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Fate {
    /// Its result is in a cache.
    Cached {
        /// The imported cache, if it is not the one here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Nothing asks for it, since results of what builds on it are in a cache.
    Unneeded,
    /// It is a source that is used: an image, a file, or a directory of the client.
    Used,
    /// It would run.
    Runs,
    /// It depends on the content of a result that is not there: it would run if that is new, and be found in a cache
    /// otherwise.
    Unknown {
        /// The step whose result it is, by its place in the list.
        depends_on: usize,
    },
}

/// Whether something would happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// It would.
    Sure,
    /// It depends: on a step of which it is not known whether it runs, or on what is there where a result goes.
    Possible,
}

/// Layers of one result that would come here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pull {
    /// The step whose result they are, by its place in the list.
    pub step: usize,
    /// The image or the cache that they come from.
    pub from: String,
    /// Whether they would come.
    pub certainty: Certainty,
    /// The layers, bottom first.
    pub layers: Vec<PlannedLayer>,
}

/// A layer's blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedLayer {
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Where a result would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedOutput {
    /// `image`, `local`, `tar`, `oci` or `docker`.
    pub kind: String,
    /// The file or directory it is written to, if it is one of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The names of an image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The names it would be pushed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushed: Vec<String>,
    /// Layers of images that are known, as they are kept now. A registry gets those of them that it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<PlannedLayer>,
    /// Whether there would be others: of steps that run, or whose layers have no blob yet.
    pub has_new_layers: bool,
}

/// A cache that would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedCacheExport {
    /// `local`, `registry`, `inline`, …
    pub kind: String,
    /// Where it would be written; empty for `inline`.
    pub destination: String,
}
