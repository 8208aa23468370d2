//! From a frontend's result to what exporters take.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_exporter::{Attestation, BuildInfo, Compression, ExportInput, PlatformResult, Shape};
use kiln_llb::platform;
use kiln_solver::Solved;
use oci_spec::image::Platform;
use serde::Deserialize;

use super::attested;
use super::lazy::LazyRef;
use super::result::{
    BASE_CONFIG, EPOCH, FrontendResult, IMAGE_CONFIG, IMAGE_NAME, NamedPlatform, PLATFORMS,
    Platforms, Refs,
};
use crate::bridge::{Bridge, Solution};
use crate::cache_transfer::{self, CacheExport};
use crate::error::{BuildError, Kind};
use crate::export::Export;
use crate::lost::Need;
use crate::ops::Output;

/// What a build made.
pub(crate) struct Built {
    /// One result for each platform.
    pub(crate) platforms: Vec<BuiltPlatform>,
    /// Whether the result is one image or several.
    pub(crate) shape: Shape,
    /// The name that the frontend gives the image.
    pub(crate) image_name: Option<String>,
    /// SOURCE_DATE_EPOCH in seconds.
    pub(crate) epoch: Option<i64>,
}

/// What a build made for one platform.
pub(crate) struct BuiltPlatform {
    pub(crate) platform: Platform,
    pub(crate) solution: Solution,
    pub(crate) image_config: Option<Bytes>,
    pub(crate) base_config: Option<Bytes>,
    /// What it was made from, if an output asks for it.
    pub(crate) build_info: Option<BuildInfo>,
    /// What is said of the result.
    pub(crate) attestations: Vec<Attestation>,
}

impl Built {
    /// Computes everything that a frontend's result consists of, and has what is needed of it here.
    pub(crate) async fn new(
        bridge: &Bridge,
        result: &FrontendResult,
        need: Need,
    ) -> Result<Self, BuildError> {
        let platforms = platforms(bridge, result)?;
        let shape = match &result.refs {
            Refs::Single(_) => Shape::Single,
            Refs::Keyed(_) => Shape::Index,
        };
        if shape == Shape::Single && platforms.len() > 1 {
            return Err(wrong("a single result cannot be for several platforms"));
        }
        try_join_all(result.all_refs().map(|it| it.brought(need))).await?;
        let builds = platforms
            .iter()
            .map(|named| platform_built(bridge, result, named));
        let platforms_built = try_join_all(builds).await?;
        let epochs = platforms.iter().map(|named| result.about(EPOCH, &named.id));
        let epoch = epochs
            .flatten()
            .next()
            .map(|text| epoch(text))
            .transpose()?;
        let image_name = result.metadata.get(IMAGE_NAME);
        Ok(Self {
            platforms: platforms_built,
            shape,
            image_name: image_name.map(|name| String::from_utf8_lossy(name).into_owned()),
            epoch,
        })
    }

    /// How the results came to be, for cache exports.
    pub(crate) fn solved(&self) -> Vec<Solved<Output>> {
        self.platforms
            .iter()
            .filter_map(|built| built.solution.solved.clone())
            .collect()
    }

    /// The results' refs by id.
    pub(crate) fn ref_ids(&self) -> Vec<String> {
        let outputs = self.platforms.iter().map(|built| &built.solution.output);
        outputs
            .flatten()
            .map(|output| output.id().to_owned())
            .collect()
    }

    /// Adds what is said of each result.
    pub(crate) fn attest(&mut self, attestations: Vec<Attestation>) {
        for (built, attestation) in self.platforms.iter_mut().zip(attestations) {
            built.attestations.push(attestation);
        }
    }

    /// How layers are compressed in the image that carries an inline cache;
    /// `None` when no such cache is asked for.
    pub(crate) fn inline_carrier(
        exports: &[Export],
        caches: &[CacheExport],
    ) -> Option<Compression> {
        let is_inline = caches.iter().any(CacheExport::is_inline);
        exports
            .iter()
            .find_map(Export::compression)
            .filter(|_| is_inline)
    }

    /// The results as exporters take them, with inline caches for a carrier.
    pub(crate) async fn export_input(
        &self,
        bridge: &Bridge,
        carrier: Option<Compression>,
    ) -> Result<ExportInput, BuildError> {
        let mut platforms = Vec::with_capacity(self.platforms.len());
        for built in &self.platforms {
            let inline_cache = match (&carrier, &built.solution.solved) {
                (Some(compression), Some(solved)) => {
                    let (engine, progress) = (&bridge.engine, &bridge.progress);
                    cache_transfer::inline_records(engine, progress, solved, *compression).await?
                }
                _ => None,
            };
            platforms.push(PlatformResult {
                platform: built.platform.clone(),
                reference: built.solution.output.clone(),
                image_config: built.image_config.clone(),
                base_config: built.base_config.clone(),
                inline_cache,
                build_info: built.build_info.clone(),
                attestations: built.attestations.clone(),
            });
        }
        Ok(ExportInput {
            platforms,
            shape: self.shape,
            image_name: self.image_name.clone(),
            epoch: self.epoch,
        })
    }
}

async fn platform_built(
    bridge: &Bridge,
    result: &FrontendResult,
    named: &NamedPlatform,
) -> Result<BuiltPlatform, BuildError> {
    let solution = match find(result, &named.id)? {
        Some(reference) => reference.solution().await?,
        None => bridge.empty(),
    };
    Ok(BuiltPlatform {
        platform: named.platform.clone(),
        solution,
        image_config: result.about(IMAGE_CONFIG, &named.id).cloned(),
        base_config: result.about(BASE_CONFIG, &named.id).cloned(),
        build_info: None,
        attestations: attested::of(result, &named.id).await?,
    })
}

/// The result for a platform. A lone one may have any key.
fn find<'a>(result: &'a FrontendResult, id: &str) -> Result<Option<&'a Arc<LazyRef>>, BuildError> {
    match &result.refs {
        Refs::Single(reference) => Ok(reference.as_ref()),
        Refs::Keyed(references) => {
            let lone = || references.values().next().filter(|_| references.len() == 1);
            let found = references.get(id).or_else(lone);
            let found = found.ok_or_else(|| wrong(format!("failed to find ref for ID {id}")))?;
            Ok(found.as_ref())
        }
    }
}

/// The platforms of a result: those that it lists, else the one that the
/// image's config is for, else this machine's.
pub(super) fn platforms(
    bridge: &Bridge,
    result: &FrontendResult,
) -> Result<Vec<NamedPlatform>, BuildError> {
    if let Some(list) = result.metadata.get(PLATFORMS) {
        return listed(list);
    }
    if let Refs::Keyed(references) = &result.refs
        && references.len() > 1
    {
        return Err(wrong(
            "build result contains multiple refs without platforms mapping",
        ));
    }
    let platform = match result.metadata.get(IMAGE_CONFIG) {
        Some(config) => config_platform(config)?,
        None => None,
    };
    let platform = platform.unwrap_or_else(|| bridge.engine.worker.platform.clone());
    Ok(vec![NamedPlatform::new(&platform)])
}

fn listed(list: &[u8]) -> Result<Vec<NamedPlatform>, BuildError> {
    let list: Platforms = serde_json::from_slice(list)
        .map_err(|error| wrong(format!("failed to parse platforms: {error}")))?;
    if list.platforms.is_empty() {
        return Err(wrong("invalid empty platforms index for exporter"));
    }
    if list.platforms.iter().any(|named| named.id.is_empty()) {
        return Err(wrong("invalid empty platform key for exporter"));
    }
    let normal = list.platforms.into_iter().map(|named| NamedPlatform {
        platform: platform::normalize(&named.platform),
        id: named.id,
    });
    Ok(normal.collect())
}

/// The part of an image's config that says what it runs on.
#[derive(Deserialize)]
struct ConfigPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

fn config_platform(config: &[u8]) -> Result<Option<Platform>, BuildError> {
    let config: ConfigPlatform = serde_json::from_slice(config)
        .map_err(|error| wrong(format!("failed to parse image config: {error}")))?;
    match (config.os.as_str(), config.architecture.as_str()) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(wrong(
            "invalid image config: os and architecture must be specified together",
        )),
        (os, architecture) => Ok(Some(platform::platform(os, architecture, &config.variant))),
    }
}

fn epoch(text: &[u8]) -> Result<i64, BuildError> {
    let text = String::from_utf8_lossy(text);
    text.parse().map_err(|_| {
        wrong(format!(
            "invalid {EPOCH} {text:?}: write seconds since 1970"
        ))
    })
}

/// What is wrong with the result of a frontend.
fn wrong(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}
