//! From a descriptor to one image: index to manifest by platform, manifest to config.

use bytes::Bytes;
use kiln_llb::platform::{format_all, preference};
use kiln_registry::{ManifestKind, detect_manifest_media_type, is_layer};
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, Platform};
use serde::Deserialize;

use super::origin::Origin;
use crate::error::SourceError;

/// Indexes inside indexes are allowed; nobody nests deeper.
const MAX_DEPTH: usize = 4;
const MAX_LAYERS: usize = 1000;

/// Everything about one image but its layers' content.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    /// What the reference stands for: the index, if there is one.
    pub(super) root: Descriptor,
    /// The image's own manifest.
    pub(super) manifest: Descriptor,
    pub(super) config: Bytes,
    pub(super) layers: Vec<Layer>,
    /// The config's `rootfs.type`.
    pub(super) rootfs: String,
}

/// A layer's blob and the digest of its tar.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Digest,
}

/// The one field of a config that matters here.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
struct RootFs {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Follows a descriptor to the image of a platform.
pub(super) async fn load(
    origin: &Origin,
    root: Descriptor,
    platform: &Platform,
    name: &str,
) -> Result<Manifest, SourceError> {
    let mut current = root.clone();
    for _ in 0..MAX_DEPTH {
        let bytes = origin.manifest(&current).await?;
        let invalid = |reason: String| SourceError::Image {
            reference: name.to_owned(),
            reason,
        };
        let (kind, _) = detect_manifest_media_type(&bytes).map_err(invalid)?;
        if kind == ManifestKind::Image {
            return image(origin, root, current, &bytes, name).await;
        }
        let index: ImageIndex = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("index {}: {error}", current.digest())))?;
        current = select(origin, &index, current.digest(), platform).await?;
    }
    let reason = format!("indexes are nested more than {MAX_DEPTH} deep");
    Err(SourceError::Image {
        reference: name.to_owned(),
        reason,
    })
}

/// The best entry for a platform: exact before compatible, entries without a platform
/// last and only if their image's config says that it fits.
pub(super) async fn select(
    origin: &Origin,
    index: &ImageIndex,
    digest: &Digest,
    wanted: &Platform,
) -> Result<Descriptor, SourceError> {
    let rank = |entry: &Descriptor| {
        let platform = entry.platform().as_ref()?;
        let features = platform.os_features().as_ref().map_or(0, Vec::len);
        Some((preference(wanted, platform)?, std::cmp::Reverse(features)))
    };
    let best = index
        .manifests()
        .iter()
        .filter_map(|entry| Some((rank(entry)?, entry)))
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, entry)) = best {
        return Ok(entry.clone());
    }
    if let Some(entry) = index
        .manifests()
        .iter()
        .find(|entry| entry.platform().is_none())
        && unnamed_fits(origin, entry, wanted).await?
    {
        return Ok(entry.clone());
    }
    let available = index
        .manifests()
        .iter()
        .filter_map(|entry| entry.platform().as_ref());
    let mut available: Vec<String> = available
        .map(format_all)
        .filter(|name| name != "unknown/unknown")
        .collect();
    available.dedup();
    Err(SourceError::Platform {
        digest: digest.clone(),
        wanted: format_all(wanted),
        available: if available.is_empty() {
            "nothing".to_owned()
        } else {
            available.join(", ")
        },
    })
}

async fn unnamed_fits(
    origin: &Origin,
    entry: &Descriptor,
    wanted: &Platform,
) -> Result<bool, SourceError> {
    let bytes = origin.manifest(entry).await?;
    if !matches!(
        detect_manifest_media_type(&bytes),
        Ok((ManifestKind::Image, _))
    ) {
        return Ok(true);
    }
    let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) else {
        return Ok(false);
    };
    let config = origin.config(manifest.config()).await?;
    let platform: Option<Platform> = serde_json::from_slice(&config).ok();
    Ok(platform.is_some_and(|platform| preference(wanted, &platform).is_some()))
}

async fn image(
    origin: &Origin,
    root: Descriptor,
    descriptor: Descriptor,
    bytes: &Bytes,
    name: &str,
) -> Result<Manifest, SourceError> {
    let invalid = |reason: String| SourceError::Image {
        reference: name.to_owned(),
        reason,
    };
    let manifest: ImageManifest = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("manifest {}: {error}", descriptor.digest())))?;
    let config = origin.config(manifest.config()).await?;
    let parsed: Config = serde_json::from_slice(&config)
        .map_err(|error| invalid(format!("config {}: {error}", manifest.config().digest())))?;
    let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
    let blobs = manifest.layers();
    if diff_ids.len() != blobs.len() {
        return Err(invalid(format!(
            "mismatched image rootfs and manifest layers: {} diff ids, {} blobs",
            diff_ids.len(),
            blobs.len()
        )));
    }
    if blobs.len() > MAX_LAYERS {
        return Err(invalid(format!(
            "{} layers are more than anyone can use",
            blobs.len()
        )));
    }
    if let Some(other) = blobs
        .iter()
        .find(|blob| !is_layer(blob.media_type().as_ref()))
    {
        return Err(invalid(format!(
            "{} has type {}, which is not that of a filesystem layer: is it an artifact?",
            other.digest(),
            other.media_type()
        )));
    }
    let layers = blobs.iter().zip(diff_ids).map(|(blob, diff_id)| Layer {
        descriptor: blob.clone(),
        diff_id,
    });
    Ok(Manifest {
        root,
        manifest: descriptor,
        layers: layers.collect(),
        config,
        rootfs: parsed.rootfs.kind,
    })
}
