//! The cache config: records and layers, as they are written (`application/vnd.buildkit.cacheconfig.v0`).

use serde::{Deserialize, Serialize};

pub(crate) const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The whole config. An inline cache has only the records, and its image's layers stand for the layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CacheConfig {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<Layer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) records: Vec<Record>,
}

/// A blob on top of another layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    #[serde(default)]
    pub(crate) blob: String,
    /// Index of the layer below; -1 is none. Zero is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) parent: i64,
    /// What a manifest says of the blob, where there is no manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<LayerAnnotations>,
}

/// A layer's descriptor in a store without manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerAnnotations {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    #[serde(default, rename = "diffID", skip_serializing_if = "String::is_empty")]
    pub(crate) diff_id: String,
    #[serde(default, skip_serializing_if = "is_no_size")]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) created_at: Created,
}

/// A cache key: what it follows from, and where its results are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Results given by their topmost layer.
    #[serde(default, rename = "layers", skip_serializing_if = "Vec::is_empty")]
    pub(crate) results: Vec<LayerResult>,
    /// Results given by all their layers.
    #[serde(default, rename = "chains", skip_serializing_if = "Vec::is_empty")]
    pub(crate) chains: Vec<ChainResult>,
    #[serde(default)]
    pub(crate) digest: String,
    /// For each input the links it may come by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) inputs: Vec<Vec<Input>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerResult {
    pub(crate) layer: i64,
    #[serde(default)]
    pub(crate) created_at: Created,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChainResult {
    #[serde(default)]
    pub(crate) layers: Vec<i64>,
    #[serde(default)]
    pub(crate) created_at: Created,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Input {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) selector: String,
    #[serde(default)]
    pub(crate) link: i64,
}

/// When a result was made, in RFC 3339; a result of an unknown time has the zero of Go's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Created(pub(crate) String);

impl Default for Created {
    fn default() -> Self {
        Self("0001-01-01T00:00:00Z".into())
    }
}

impl From<std::time::SystemTime> for Created {
    fn from(time: std::time::SystemTime) -> Self {
        jiff::Timestamp::try_from(time)
            .map_or_else(|_| Self::default(), |time| Self(time.to_string()))
    }
}

impl Created {
    /// The moment; one before 1970, or one that cannot be read, is 1970.
    pub(crate) fn time(&self) -> std::time::SystemTime {
        let time = self
            .0
            .parse::<jiff::Timestamp>()
            .ok()
            .filter(|time| time.as_second() >= 0);
        time.map_or(std::time::UNIX_EPOCH, std::time::SystemTime::from)
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_no_size(number: &u64) -> bool {
    *number == 0
}
