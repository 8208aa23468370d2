//! Version 1.

use kiln_session::progress::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Builder, Claims, Dependency, Extra, Facts};
use crate::provenance::config_source::ConfigSource;
use crate::provenance::request::{Asked, Parameters};

const BUILD_TYPE: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolved_dependencies: Vec<Dependency>,
    external_parameters: ExternalParameters,
    internal_parameters: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalParameters {
    config_source: ConfigSource,
    request: Parameters,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Builder,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(rename = "invocationId")]
    invocation_id: String,
    #[serde(rename = "startedOn")]
    started_on: Timestamp,
    #[serde(rename = "finishedOn")]
    finished_on: Timestamp,
    buildkit_metadata: Extra,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    buildkit_hermetic: bool,
    buildkit_completeness: Completeness,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    buildkit_reproducible: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Completeness {
    request: bool,
    resolved_dependencies: bool,
}

impl Predicate {
    pub(super) fn new(facts: Facts<'_>, asked: Asked, claims: Claims) -> Self {
        let network = facts.network();
        Self {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                resolved_dependencies: facts.dependencies(),
                external_parameters: ExternalParameters {
                    config_source: asked.config,
                    request: asked.parameters,
                },
                internal_parameters: internal_parameters(&facts),
            },
            run_details: RunDetails {
                builder: facts.builder(),
                metadata: Metadata {
                    invocation_id: facts.invocation,
                    started_on: facts.started,
                    finished_on: facts.finished,
                    buildkit_metadata: Extra {
                        vcs: asked.vcs,
                        source: facts.source,
                        network,
                        layers: facts.layers,
                        system: facts.system,
                    },
                    buildkit_hermetic: claims.hermetic,
                    buildkit_completeness: Completeness {
                        request: claims.request,
                        resolved_dependencies: claims.dependencies,
                    },
                    buildkit_reproducible: facts.options.reproducible,
                },
            },
        }
    }
}

/// All keys in alphabetical order, at every depth.
fn internal_parameters(facts: &Facts<'_>) -> Value {
    let config = facts.config.as_ref().map(|config| {
        let config = serde_json::to_value(config).unwrap_or_default();
        ("buildConfig", config)
    });
    let platform = ("builderPlatform", facts.platform.clone().into());
    let language = facts.language_version();
    let own = config.into_iter().chain([platform]).chain(language);
    facts.environment.with(own)
}
