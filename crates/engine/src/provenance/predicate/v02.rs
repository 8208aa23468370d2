//! Version 0.2.

use kiln_session::progress::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Builder, Claims, Dependency, DigestSet, Extra, Facts};
use crate::provenance::request::{Asked, Parameters};
use crate::provenance::steps::BuildConfig;

const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate {
    builder: Builder,
    build_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    materials: Vec<Dependency>,
    invocation: Invocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_config: Option<BuildConfig>,
    metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    config_source: ConfigSource,
    parameters: Parameters,
    environment: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    uri: String,
    #[serde(skip_serializing_if = "DigestSet::is_empty")]
    digest: DigestSet,
    #[serde(skip_serializing_if = "String::is_empty")]
    entry_point: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(rename = "buildInvocationID")]
    build_invocation_id: String,
    build_started_on: Timestamp,
    build_finished_on: Timestamp,
    completeness: Completeness,
    reproducible: bool,
    #[serde(rename = "https://mobyproject.org/buildkit@v1#metadata")]
    extra: Extra,
    #[serde(
        rename = "https://mobyproject.org/buildkit@v1#hermetic",
        skip_serializing_if = "std::ops::Not::not"
    )]
    hermetic: bool,
}

#[derive(Serialize)]
struct Completeness {
    parameters: bool,
    environment: bool,
    materials: bool,
}

impl Predicate {
    pub(super) fn new(facts: Facts<'_>, asked: Asked, claims: Claims) -> Self {
        let network = facts.network();
        let platform = ("platform", facts.platform.clone().into());
        let environment = [platform].into_iter().chain(facts.language_version());
        Self {
            builder: facts.builder(),
            build_type: BUILD_TYPE,
            materials: facts.dependencies(),
            invocation: Invocation {
                config_source: ConfigSource {
                    uri: asked.config.uri,
                    digest: asked.config.digest,
                    entry_point: asked.config.path,
                },
                parameters: asked.parameters,
                environment: facts.environment.with(environment),
            },
            build_config: facts.config,
            metadata: Metadata {
                build_invocation_id: facts.invocation,
                build_started_on: facts.started,
                build_finished_on: facts.finished,
                completeness: Completeness {
                    parameters: claims.request,
                    environment: true,
                    materials: claims.dependencies,
                },
                reproducible: facts.options.reproducible,
                extra: Extra {
                    vcs: asked.vcs,
                    source: facts.source,
                    network,
                    layers: facts.layers,
                    system: facts.system,
                },
                hermetic: claims.hermetic,
            },
        }
    }
}
