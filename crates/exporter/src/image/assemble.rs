//! From layers and configs to manifests, and to an index over them.

use bytes::Bytes;
use kiln_registry::Reference;
use kiln_store::{Blob, ContentStore};

use super::attest::AttestationManifest;
use super::config::{self, BaseConfig, Config, Patch};
use super::json;
use super::model::{
    DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Index, Manifest, OCI_CONFIG,
    OCI_INDEX, OCI_MANIFEST, Platform,
};
use super::time::Time;
use crate::attestation::Said;
use crate::layers::{self, LayerBlob};
use crate::options::{AnnotationSet, ImageOptions};
use crate::progress::Progress;
use crate::{ExportError, ExportInput, PlatformResult, Shape};

/// An image whose manifests and configs are in the content store.
pub(crate) struct Assembled {
    /// The root: an index or the one manifest.
    pub(crate) root: Descriptor,
    /// The config of the one image, if it is one.
    pub(crate) config_digest: Option<String>,
    /// One manifest per platform.
    pub(crate) manifests: Vec<AssembledManifest>,
    /// Manifests of what is said of the images.
    pub(crate) attestations: Vec<AttestationManifest>,
    /// When the newest of the images was made.
    pub(crate) created: Option<Time>,
}

/// One platform's manifest.
pub(crate) struct AssembledManifest {
    pub(crate) descriptor: Descriptor,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    /// Digests of the layers' tars.
    pub(crate) diff_ids: Vec<oci_spec::image::Digest>,
    pub(crate) platform: oci_spec::image::Platform,
}

impl Assembled {
    /// Every manifest below the root with its blobs.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Descriptor, &Descriptor, &[Descriptor])> {
        let images = self.manifests.iter();
        let images = images.map(|image| (&image.descriptor, &image.config, &image.layers[..]));
        let attestations = self.attestations.iter();
        images.chain(attestations.map(|it| (&it.descriptor, &it.config, &it.statements[..])))
    }
}

/// What all steps of an assembly look at.
pub(crate) struct Assembly<'a> {
    pub(crate) content: &'a ContentStore,
    pub(crate) input: &'a ExportInput,
    pub(crate) options: &'a ImageOptions,
    /// Whether the root is an index.
    pub(crate) shape: Shape,
    /// What is said of each platform's image.
    pub(crate) said: &'a [Vec<Said>],
    /// The names that statements are about.
    pub(crate) names: &'a [Reference],
    pub(crate) epoch: Option<i64>,
    pub(crate) progress: &'a Progress,
}

/// The configs of one platform: the frontend's, or those the output puts in their place.
pub(crate) fn configs(
    result: &PlatformResult,
    options: &ImageOptions,
) -> Result<(Vec<u8>, Option<BaseConfig>), ExportError> {
    let id = kiln_llb::platform::format_all(&result.platform);
    let find = |key: &str, from_frontend: &Option<Bytes>| {
        let specific = options.overrides.get(&format!("{key}/{id}"));
        let given = specific
            .or_else(|| options.overrides.get(key))
            .map(|text| text.as_bytes().to_vec());
        given
            .or_else(|| from_frontend.as_ref().map(|bytes| bytes.to_vec()))
            .filter(|bytes| !bytes.is_empty())
    };
    let config = match find("containerimage.config", &result.image_config) {
        Some(config) => config,
        None => config::minimal(&result.platform)?,
    };
    let base = find("containerimage.base.config", &result.base_config);
    Ok((
        config,
        base.map(|bytes| BaseConfig::read(&bytes)).transpose()?,
    ))
}

/// Whether the output's annotations fit the result.
pub(crate) fn check_annotations(
    input: &ExportInput,
    options: &ImageOptions,
    shape: Shape,
) -> Result<(), ExportError> {
    let have: Vec<_> = input
        .platforms
        .iter()
        .map(|result| kiln_llb::platform::format_all(&result.platform))
        .collect();
    let missing = options
        .annotations
        .by_platform
        .keys()
        .find(|platform| !platform.is_empty() && !have.contains(platform));
    if let Some(platform) = missing {
        return Err(ExportError::Result(format!(
            "invalid annotation: no platform {platform} found in source"
        )));
    }
    if !options.use_oci_types() && options.annotations.need_oci() {
        return Err(ExportError::Result(
            "cannot export annotations with \"oci-mediatypes=false\"".into(),
        ));
    }
    let root = options.annotations.resolve(None);
    if shape == Shape::Single && !(root.index.is_empty() && root.index_descriptor.is_empty()) {
        return Err(ExportError::Result(
            "index annotations not supported for single platform export".into(),
        ));
    }
    Ok(())
}

/// Writes the configs, manifests and index over `layers`, one list per platform.
pub(crate) fn assemble(
    assembly: &Assembly<'_>,
    layers: &[Vec<LayerBlob>],
) -> Result<Assembled, ExportError> {
    let Assembly { input, options, .. } = assembly;
    let mut manifests = Vec::new();
    let mut created = None::<Time>;
    for (result, layers) in input.platforms.iter().zip(layers) {
        let (manifest, time) = assembly.manifest(result, layers)?;
        manifests.push(manifest);
        created = match (created, time) {
            (Some(newest), Some(time)) if newest.is_after(&time) => Some(newest),
            (newest, time) => time.or(newest),
        };
    }
    let mut attestations = Vec::new();
    for (manifest, said) in manifests.iter().zip(assembly.said) {
        if !said.is_empty() {
            attestations.push(assembly.attest(manifest, said)?);
        }
    }
    let (root, config_digest) = match assembly.shape {
        Shape::Index => {
            let images = manifests.iter().map(|image| &image.descriptor);
            let entries = images.chain(attestations.iter().map(|it| &it.descriptor));
            let annotations = options.annotations.resolve(None);
            (
                assembly.index(entries.cloned().collect(), &annotations)?,
                None,
            )
        }
        Shape::Single => match manifests.as_slice() {
            [one] => (one.descriptor.clone(), Some(one.config.digest.clone())),
            _ => {
                let text = "cannot export multiple platforms without multi-platform enabled";
                return Err(ExportError::Result(text.into()));
            }
        },
    };
    Ok(Assembled {
        root,
        config_digest,
        manifests,
        attestations,
        created,
    })
}

impl Assembly<'_> {
    fn manifest(
        &self,
        result: &PlatformResult,
        layers: &[LayerBlob],
    ) -> Result<(AssembledManifest, Option<Time>), ExportError> {
        let oci = self.options.use_oci_types();
        let (config, base) = configs(result, self.options)?;
        let build_info = result.build_info.as_ref();
        let build_info = build_info.filter(|_| self.options.build_info.in_config());
        let patch = Patch {
            layers,
            base: base.as_ref(),
            epoch: self.epoch,
            inline_cache: result.inline_cache.as_ref(),
            build_info: build_info.map(|info| &info.public),
        };
        let Config {
            bytes: config_bytes,
            created,
        } = config::patch(&config, &patch)?;
        let config_blob = self.put("exporting config", &config_bytes)?;
        let config = describe(if oci { OCI_CONFIG } else { DOCKER_CONFIG }, &config_blob);

        let diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let platform = kiln_llb::platform::format_all(&result.platform);
        let annotations = self.options.annotations.resolve(Some(&platform));
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| layers::for_manifest(layer, oci, self.options.foreign()))
            .collect();
        let media_type = if oci { OCI_MANIFEST } else { DOCKER_MANIFEST };
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type.to_owned(),
            artifact_type: String::new(),
            config: config.clone(),
            layers: Some(layers.clone()).filter(|layers| !layers.is_empty()),
            subject: None,
            annotations: annotations.manifest,
        };
        let blob = self.put(
            "exporting manifest",
            &json::indented(&manifest).map_err(json_error)?,
        )?;
        let descriptor = Descriptor {
            annotations: annotations.manifest_descriptor,
            platform: Some(Platform::from(&result.platform)),
            ..describe(media_type, &blob)
        };
        Ok((
            AssembledManifest {
                descriptor,
                config,
                layers,
                diff_ids,
                platform: result.platform.clone(),
            },
            created,
        ))
    }

    fn index(
        &self,
        entries: Vec<Descriptor>,
        annotations: &AnnotationSet,
    ) -> Result<Descriptor, ExportError> {
        let media_type = if self.options.use_oci_types() {
            OCI_INDEX
        } else {
            DOCKER_LIST
        };
        let index = Index {
            schema_version: 2,
            media_type: media_type.to_owned(),
            manifests: Some(entries),
            annotations: annotations.index.clone(),
        };
        let blob = self.put(
            "exporting manifest list",
            &json::indented(&index).map_err(json_error)?,
        )?;
        Ok(Descriptor {
            annotations: annotations.index_descriptor.clone(),
            ..describe(media_type, &blob)
        })
    }

    pub(super) fn put(&self, what: &str, bytes: &[u8]) -> Result<Blob, ExportError> {
        let blob = self.put_quietly(bytes)?;
        self.progress
            .start(format!("{what} {}", blob.digest))
            .end(Ok::<_, ExportError>(()))?;
        Ok(blob)
    }

    pub(super) fn put_quietly(&self, bytes: &[u8]) -> Result<Blob, ExportError> {
        self.content
            .put(bytes)
            .map_err(|error| ExportError::Store(error.into()))
    }
}

pub(super) fn describe(media_type: &str, blob: &Blob) -> Descriptor {
    Descriptor::new(media_type, &blob.digest, blob.size)
}

pub(super) fn json_error(error: serde_json::Error) -> ExportError {
    ExportError::Config(error.to_string())
}
