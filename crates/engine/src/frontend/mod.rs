//! Frontends: what turns a build request into definitions and image configs.

mod answers;
mod dockerfile;
mod excerpt;
mod syntax;
mod warnings;

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_exporter::{Attestation, Compression, ExportInput, PlatformResult, Shape};
use kiln_solver::Solved;
use oci_spec::image::Platform;

use crate::bridge::{Bridge, Solution};
use crate::cache_transfer::{self, CacheExport};
use crate::error::{BuildError, Kind};
use crate::export::Export;
use crate::ops::Output;
use crate::provenance::FrontendRequest;
use crate::request::{Attributes, Frontend};

/// What a frontend came to.
pub(crate) enum FrontendResult {
    /// Trees and image configs.
    Built(Built),
    /// The answer to a subrequest, by file name.
    Answer(BTreeMap<String, Vec<u8>>),
}

/// What a build made.
pub(crate) struct Built {
    /// One result for each platform.
    pub(crate) platforms: Vec<BuiltPlatform>,
    /// Whether the result is one image or several.
    pub(crate) shape: Shape,
    /// SOURCE_DATE_EPOCH in seconds.
    pub(crate) epoch: Option<i64>,
}

/// What a build made for one platform.
pub(crate) struct BuiltPlatform {
    pub(crate) platform: Platform,
    pub(crate) solution: Solution,
    pub(crate) image_config: Option<Bytes>,
    pub(crate) base_config: Option<Bytes>,
    /// What is said of the result.
    pub(crate) attestations: Vec<Attestation>,
}

impl Built {
    /// How the results came to be, for cache exports.
    pub(crate) fn solved(&self) -> Vec<Solved<Output>> {
        self.platforms
            .iter()
            .filter_map(|built| built.solution.solved.clone())
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
                attestations: built.attestations.clone(),
            });
        }
        Ok(ExportInput {
            platforms,
            shape: self.shape,
            image_name: None,
            epoch: self.epoch,
        })
    }
}

impl Frontend {
    /// The request as provenance has it.
    pub(crate) fn request(&self, options: &Attributes) -> Option<FrontendRequest> {
        match self {
            Self::Dockerfile => Some(FrontendRequest {
                frontend: "dockerfile.v0".into(),
                options: options.clone(),
            }),
            Self::Definition(_) => None,
        }
    }
}

/// Runs the frontend.
pub(crate) async fn run(
    bridge: &Bridge,
    frontend: Frontend,
    options: &Attributes,
) -> Result<FrontendResult, BuildError> {
    match frontend {
        Frontend::Dockerfile if !bridge.engine.worker.frontends.dockerfile => Err(BuildError::new(
            Kind::Input,
            "frontend dockerfile.v0 is disabled by the configuration",
        )),
        Frontend::Dockerfile => dockerfile::run(bridge, options).await,
        Frontend::Definition(definition) => {
            let solution = bridge.solve(&definition).await?;
            let built = BuiltPlatform {
                platform: bridge.engine.worker.platform.clone(),
                solution,
                image_config: None,
                base_config: None,
                attestations: Vec::new(),
            };
            Ok(FrontendResult::Built(Built {
                platforms: vec![built],
                shape: Shape::Single,
                epoch: None,
            }))
        }
    }
}
