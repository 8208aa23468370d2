//! What is kept of a build, so that later builds can be compared with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fact;

/// What is kept of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildFacts {
    /// The options that can change what steps are: build arguments and what turns the cache off.
    pub options: BTreeMap<String, String>,
    /// Where the directories that the client lent come from, hashed.
    pub places: Vec<String>,
    /// Images whose configs the frontend read.
    pub images: Vec<ImageFacts>,
    /// Caches that were to be imported and could not be.
    pub unusable_imports: Vec<ImportFacts>,
    /// The steps, inputs before their users.
    pub steps: Vec<StepFacts>,
    /// How many steps were too many to keep.
    pub left_out: usize,
}

/// An image whose config was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageFacts {
    /// Its name.
    pub name: String,
    /// Its environment, as `NAME=value`.
    pub env: Vec<String>,
}

/// A cache that could not be imported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImportFacts {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What is kept of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepFacts {
    /// The digest of its definition.
    pub digest: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: StepKind,
    /// The steps that it builds on, by their places in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<usize>,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether it may be taken from the cache.
    #[serde(default, skip_serializing_if = "CacheUse::is_default")]
    pub cache: CacheUse,
    /// The digests of its cache maps, any of which leads to its result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What it saw of its inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<ContentFacts>,
    /// What it is, in detail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

/// What a step saw of an input that counts by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentFacts {
    /// Which of its inputs.
    pub input: usize,
    /// The digest of what it saw.
    pub digest: String,
    /// The tree it saw, `None` if it was empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// An image, from a registry or a layout.
    Image,
    /// A directory of the client.
    Local,
    /// Another source.
    Source,
    /// A process.
    Exec,
    /// File actions.
    File,
    /// Anything else.
    Other,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Nobody needed it.
    #[default]
    Unneeded,
    /// Its result came from a cache.
    Cached,
    /// It ran.
    Ran,
    /// It ran, since its result was in the cache but could not be loaded.
    RanForLost,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl Outcome {
    /// Whether the step was not found in the cache.
    pub fn is_miss(self) -> bool {
        matches!(self, Self::Ran | Self::RanForLost | Self::Failed)
    }

    /// Whether its result was there in the end.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::Cached | Self::Ran | Self::RanForLost)
    }
}

/// Whether a step may be taken from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CacheUse {
    /// It may.
    #[default]
    Allowed,
    /// The user wants it to run.
    Off,
}

impl CacheUse {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl StepFacts {
    /// Whether it means the same as another one by its keys, or by what it says if these are not known.
    pub(super) fn is_keyed_as(&self, other: &Self) -> bool {
        match self.keys.is_empty() || other.keys.is_empty() {
            true => self.facts == other.facts,
            false => self.keys.iter().any(|key| other.keys.contains(key)),
        }
    }

    /// Whether it missed the cache. Directories of the client are looked at anew in each build.
    pub fn is_miss(&self) -> bool {
        self.outcome.is_miss() && self.kind != StepKind::Local
    }
}
