//! `annotation…` keys: what is written on manifests, indexes and their descriptors.

use std::collections::BTreeMap;

use super::OptionError;
use super::attrs::Attributes;

/// Annotations by where they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationSet {
    /// On the manifest.
    pub manifest: BTreeMap<String, String>,
    /// On the manifest's descriptor in the index, or the root descriptor.
    pub manifest_descriptor: BTreeMap<String, String>,
    /// On the index.
    pub index: BTreeMap<String, String>,
    /// On the index's descriptor.
    pub index_descriptor: BTreeMap<String, String>,
}

/// All annotations of an output: for every platform, and for single ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// By platform in its formatted, normalised form; the empty one is for all.
    pub by_platform: BTreeMap<String, AnnotationSet>,
}

/// Where an annotation goes, as its key says.
#[derive(Clone, Copy)]
enum Place {
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

/// `annotation[-TYPE][[PLATFORM]].NAME`, taken apart.
struct Key {
    place: Place,
    platform: String,
    name: String,
}

impl Annotations {
    pub(crate) fn take(attrs: &mut Attributes) -> Result<Self, OptionError> {
        let mut all = Self::default();
        for (key, value) in attrs.drain(parse_key) {
            let Key {
                place,
                platform,
                name,
            } = key?;
            let set = all.by_platform.entry(platform).or_default();
            let map = match place {
                Place::Manifest => &mut set.manifest,
                Place::ManifestDescriptor => &mut set.manifest_descriptor,
                Place::Index => &mut set.index,
                Place::IndexDescriptor => &mut set.index_descriptor,
            };
            map.insert(name, value);
        }
        Ok(all)
    }

    /// What applies to one platform, or to the index as a whole. Index annotations apply whatever platform they name.
    pub fn resolve(&self, platform: Option<&str>) -> AnnotationSet {
        let mut resolved = AnnotationSet::default();
        for set in self.by_platform.values() {
            resolved.index.extend(set.index.clone());
            resolved
                .index_descriptor
                .extend(set.index_descriptor.clone());
        }
        for set in ["", platform.unwrap_or("")]
            .into_iter()
            .filter_map(|key| self.by_platform.get(key))
        {
            resolved.manifest.extend(set.manifest.clone());
            resolved
                .manifest_descriptor
                .extend(set.manifest_descriptor.clone());
        }
        resolved
    }

    /// Whether something needs OCI media types: anything but annotations on manifests.
    pub(crate) fn need_oci(&self) -> bool {
        self.by_platform.values().any(|set| {
            !(set.index.is_empty()
                && set.index_descriptor.is_empty()
                && set.manifest_descriptor.is_empty())
        })
    }
}

/// `None` if the key is no annotation at all.
fn parse_key(key: &str) -> Option<Result<Key, OptionError>> {
    let rest = key.strip_prefix("annotation")?;
    let (head, name) = split_name(rest)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let (kind, platform) = match head.split_once('[') {
        Some((kind, platform)) => (kind, Some(platform.strip_suffix(']')?)),
        None => (head, None),
    };
    let place = match kind {
        "" | "-manifest" => Place::Manifest,
        "-manifest-descriptor" => Place::ManifestDescriptor,
        "-index" => Place::Index,
        "-index-descriptor" => Place::IndexDescriptor,
        other => {
            return Some(Err(OptionError::AnnotationType(
                other.strip_prefix('-')?.to_owned(),
            )));
        }
    };
    let platform = match platform {
        None => Ok(String::new()),
        Some(text) => kiln_llb::platform::parse(text)
            .map(|platform| {
                kiln_llb::platform::format_all(&kiln_llb::platform::normalize(&platform))
            })
            .map_err(|_| OptionError::AnnotationPlatform {
                key: key.to_owned(),
                platform: text.to_owned(),
            }),
    };
    Some(platform.map(|platform| Key {
        place,
        platform,
        name: name.to_owned(),
    }))
}

/// Splits at the first dot that is not inside brackets.
fn split_name(rest: &str) -> Option<(&str, &str)> {
    let from = rest.find(']').unwrap_or(0);
    let from = if rest.find('.').is_some_and(|dot| dot < from) && !rest.starts_with(['[', '-']) {
        0
    } else {
        from
    };
    let dot = from + rest[from..].find('.')?;
    Some((&rest[..dot], &rest[dot + 1..]))
}
