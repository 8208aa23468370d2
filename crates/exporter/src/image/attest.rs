//! Manifests that hold what is said of an image.

use std::collections::BTreeMap;
use std::str::FromStr;

use oci_spec::image::Digest;
use serde::Serialize;

use super::assemble::{AssembledManifest, Assembly, describe, json_error};
use super::json;
use super::model::{
    DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, EMPTY, Manifest, OCI_CONFIG, OCI_MANIFEST, Platform,
};
use crate::ExportError;
use crate::attestation::{Said, default_subjects};

const IN_TOTO: &str = "application/vnd.in-toto+json";
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// The one value without content.
const EMPTY_VALUE: &[u8] = b"{}";

/// Annotation that names a statement's predicate type.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// Annotations that say, in an index, what an attestation manifest is and which image it is about.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// The manifest with the statements about one image.
pub(crate) struct AttestationManifest {
    pub(crate) descriptor: Descriptor,
    pub(crate) config: Descriptor,
    pub(crate) statements: Vec<Descriptor>,
}

/// The config of a manifest that is no artifact. Nobody can run it.
#[derive(Serialize)]
struct Config<'a> {
    #[serde(flatten)]
    platform: Platform,
    config: BTreeMap<String, String>,
    rootfs: RootFs<'a>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'static str,
    diff_ids: Vec<&'a str>,
}

impl Assembly<'_> {
    /// Writes the manifest of what is said of an image.
    pub(super) fn attest(
        &self,
        image: &AssembledManifest,
        said: &[Said],
    ) -> Result<AttestationManifest, ExportError> {
        let digest = Digest::from_str(&image.descriptor.digest);
        let digest = digest.map_err(|error| ExportError::Store(error.into()))?;
        let subjects = default_subjects(self.names, &image.platform, &digest);
        let mut statements = Vec::with_capacity(said.len());
        for one in said {
            let bytes = json::compact_raw(&one.statement(&subjects)).map_err(json_error)?;
            let mut descriptor = describe(IN_TOTO, &self.put_quietly(&bytes)?);
            if self.options.use_oci_types() {
                let annotation = (PREDICATE_TYPE.to_owned(), one.predicate_type.clone());
                descriptor.annotations = [annotation].into();
            }
            statements.push(descriptor);
        }
        let config = self.attestation_config(&statements)?;
        let is_artifact = self.options.use_oci_artifacts();
        let media_type = match self.options.use_oci_types() {
            true => OCI_MANIFEST,
            false => DOCKER_MANIFEST,
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type.to_owned(),
            artifact_type: String::from(if is_artifact { ARTIFACT } else { "" }),
            config: config.clone(),
            layers: Some(statements.clone()),
            subject: is_artifact.then(|| Descriptor {
                media_type: image.descriptor.media_type.clone(),
                digest: image.descriptor.digest.clone(),
                size: image.descriptor.size,
                ..Descriptor::default()
            }),
            annotations: BTreeMap::new(),
        };
        let bytes = json::indented(&manifest).map_err(json_error)?;
        let blob = self.put("exporting attestation manifest", &bytes)?;
        let annotations = [
            (REFERENCE_DIGEST.to_owned(), image.descriptor.digest.clone()),
            (REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned()),
        ];
        let descriptor = Descriptor {
            annotations: annotations.into(),
            platform: Some(no_platform()),
            ..describe(media_type, &blob)
        };
        Ok(AttestationManifest {
            descriptor,
            config,
            statements,
        })
    }

    fn attestation_config(&self, statements: &[Descriptor]) -> Result<Descriptor, ExportError> {
        if self.options.use_oci_artifacts() {
            let empty = describe(EMPTY, &self.put_quietly(EMPTY_VALUE)?);
            return Ok(Descriptor {
                data: "e30=".to_owned(),
                ..empty
            });
        }
        let config = Config {
            platform: no_platform(),
            config: BTreeMap::new(),
            rootfs: RootFs {
                r#type: "layers",
                diff_ids: statements.iter().map(|it| it.digest.as_str()).collect(),
            },
        };
        let media_type = match self.options.use_oci_types() {
            true => OCI_CONFIG,
            false => DOCKER_CONFIG,
        };
        let bytes = json::compact(&config).map_err(json_error)?;
        Ok(describe(media_type, &self.put_quietly(&bytes)?))
    }
}

/// The platform of what does not run.
fn no_platform() -> Platform {
    Platform {
        architecture: "unknown".to_owned(),
        os: "unknown".to_owned(),
        ..Platform::default()
    }
}
