//! Scans of results, where the build asks for an SBOM.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_dockerfile::known::ImageQuestion;
use kiln_dockerfile::options::SbomOptions;
use kiln_dockerfile::sbom::{CORE, PREDICATE_TYPE, Scanner};
use kiln_dockerfile::{Lowered, Options};
use kiln_llb::build::ResolveMode;
use kiln_protocol::frontend::{Attestation, AttestationKind};
use oci_spec::image::Platform;

use crate::door::Door;
use crate::failure::Failure;
use crate::metadata::NamedPlatform;
use crate::run::Target;

/// Adds the scans to builds.
pub(crate) async fn with_scans<D: Door>(
    door: &D,
    options: &Options,
    lowered: Vec<Lowered>,
) -> Result<Vec<Target>, D::Error> {
    let scanner = match (&options.sbom, options.build_platforms.first()) {
        (Some(sbom), Some(platform)) => {
            Some(scanner(door, sbom, options.resolve_mode, platform).await?)
        }
        _ => None,
    };
    let with_scan = |lowered: Lowered| {
        let sbom = scanner.as_ref().map(|scanner| {
            let name = NamedPlatform::new(&lowered.platform).id;
            scanner.scan(&name, &lowered.scan)
        });
        let sbom = sbom.transpose().map_err(|error| Failure::wrap(&error))?;
        Ok(Target { lowered, sbom })
    };
    lowered.into_iter().map(with_scan).collect()
}

/// Looks up the image that scans.
pub async fn scanner<'a, D: Door>(
    door: &D,
    options: &'a SbomOptions,
    resolve_mode: ResolveMode,
    platform: &Platform,
) -> Result<Scanner<'a>, D::Error> {
    let generator = &options.generator;
    let question = ImageQuestion {
        reference: generator.clone(),
        platform: platform.clone(),
        resolve_mode,
        log_name: format!("resolve image config for docker-image://{generator}"),
    };
    let resolved = door.image_config(&question).await?;
    let scanner = Scanner::new(options, &resolved, platform.clone());
    scanner.map_err(|error| Failure::wrap(&error).into())
}

/// What is said of the files that a scan leaves, all but the files.
pub fn bundle() -> Attestation {
    let metadata = [("reason", "sbom"), ("sbom-core", CORE)];
    let metadata =
        metadata.map(|(key, value)| (key.to_owned(), Bytes::from_static(value.as_bytes())));
    Attestation {
        kind: AttestationKind::Bundle.into(),
        metadata: BTreeMap::from(metadata),
        in_toto_predicate_type: PREDICATE_TYPE.to_owned(),
        ..Attestation::default()
    }
}
