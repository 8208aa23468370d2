//! What a frontend says of its results, under the keys that frontends and exporters agreed on.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_dockerfile::Lowered;
use kiln_llb::platform;
use oci_spec::image::Platform;
use serde::{Deserialize, Serialize};

/// Key of an image's config; with `/` and a platform's id that of one of
/// several.
pub const IMAGE_CONFIG: &str = "containerimage.config";
/// Key of the config of the image at the bottom.
pub const BASE_CONFIG: &str = "containerimage.base.config";
/// Key of the list of platforms.
pub const PLATFORMS: &str = "refs.platforms";
/// Key of SOURCE_DATE_EPOCH, in seconds.
pub const EPOCH: &str = "source.date.epoch";

/// The value of [`PLATFORMS`].
#[derive(Debug, Serialize, Deserialize, Default)]
pub struct Platforms {
    /// In the order in which an index lists them.
    #[serde(rename = "Platforms", default)]
    pub platforms: Vec<NamedPlatform>,
}

/// A platform and the key of its result.
#[derive(Debug, Serialize, Deserialize)]
pub struct NamedPlatform {
    /// The key.
    #[serde(rename = "ID", default)]
    pub id: String,
    /// The platform.
    #[serde(rename = "Platform")]
    pub platform: Platform,
}

impl NamedPlatform {
    /// The platform under the key that it has by custom.
    pub fn new(platform: &Platform) -> Self {
        let platform = platform::normalize(platform);
        Self {
            id: platform::format_all(&platform),
            platform,
        }
    }
}

/// Puts together what is said of a build for one platform or several.
#[derive(Debug)]
pub struct Metadata {
    multi_platform: bool,
    entries: BTreeMap<String, Bytes>,
    platforms: Platforms,
}

impl Metadata {
    /// `multi_platform`: the result is several even if there is but one.
    pub fn new(multi_platform: bool) -> Self {
        Self {
            multi_platform,
            entries: BTreeMap::new(),
            platforms: Platforms::default(),
        }
    }

    /// Adds what a Dockerfile comes to for one platform; answers the key of
    /// the result.
    pub fn add(&mut self, lowered: &Lowered) -> String {
        let named = NamedPlatform::new(&lowered.platform);
        let id = named.id.clone();
        let suffix = match self.multi_platform {
            true => format!("/{id}"),
            false => String::new(),
        };
        let base = lowered.base_image.as_ref();
        let facts = [
            (IMAGE_CONFIG, Some(lowered.image.to_json())),
            (BASE_CONFIG, base.map(|image| image.to_json())),
            (EPOCH, lowered.epoch.map(|epoch| epoch.to_string())),
        ];
        for (key, value) in facts {
            let value = value.map(|value| (format!("{key}{suffix}"), value.into()));
            self.entries.extend(value);
        }
        self.platforms.platforms.push(named);
        id
    }

    /// All of it.
    pub fn finish(mut self) -> BTreeMap<String, Bytes> {
        let list = serde_json::to_vec(&self.platforms).unwrap_or_default();
        self.entries.insert(PLATFORMS.into(), list.into());
        self.entries
    }
}
