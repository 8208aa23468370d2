//! Predicates in the two versions of SLSA provenance.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_llb::json::to_go_json_pretty;
use kiln_session::progress::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::capture::Capture;
use super::layers::Layers;
use super::options::{Mode, ProvenanceOptions, Version};
use super::request::{Asked, Parameters};
use super::steps::{BuildConfig, SourceMap};

const BUILD_TYPE_V1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const BUILD_TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";

/// Everything a predicate says.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) capture: &'a Capture,
    pub(super) options: &'a ProvenanceOptions,
    pub(super) invocation: String,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    /// The platform of the machine.
    pub(super) platform: String,
    pub(super) config: Option<BuildConfig>,
    pub(super) source: Option<SourceMap>,
    pub(super) layers: Layers,
}

/// Something that went into the result.
#[derive(Debug, Serialize)]
struct Dependency {
    uri: String,
    digest: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Builder<'a> {
    id: &'a str,
}

/// What is said beyond the standard.
#[derive(Debug, Serialize)]
struct Extra {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vcs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceMap>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layers: Layers,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PredicateV1<'a> {
    build_definition: BuildDefinition,
    run_details: RunDetails<'a>,
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
    config_source: ConfigSourceV1,
    request: Parameters,
}

#[derive(Serialize)]
struct ConfigSourceV1 {
    #[serde(skip_serializing_if = "String::is_empty")]
    uri: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
}

#[derive(Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
    metadata: MetadataV1,
}

#[derive(Serialize)]
struct MetadataV1 {
    #[serde(rename = "invocationId")]
    invocation_id: String,
    #[serde(rename = "startedOn")]
    started_on: Timestamp,
    #[serde(rename = "finishedOn")]
    finished_on: Timestamp,
    buildkit_metadata: Extra,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    buildkit_hermetic: bool,
    buildkit_completeness: CompletenessV1,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    buildkit_reproducible: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompletenessV1 {
    request: bool,
    resolved_dependencies: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PredicateV02<'a> {
    builder: Builder<'a>,
    build_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    materials: Vec<Dependency>,
    invocation: InvocationV02,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_config: Option<BuildConfig>,
    metadata: MetadataV02,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InvocationV02 {
    config_source: ConfigSourceV02,
    parameters: Parameters,
    environment: EnvironmentV02,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSourceV02 {
    #[serde(skip_serializing_if = "String::is_empty")]
    uri: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    entry_point: String,
}

#[derive(Serialize)]
struct EnvironmentV02 {
    platform: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataV02 {
    #[serde(rename = "buildInvocationID")]
    build_invocation_id: String,
    build_started_on: Timestamp,
    build_finished_on: Timestamp,
    completeness: CompletenessV02,
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
struct CompletenessV02 {
    parameters: bool,
    environment: bool,
    materials: bool,
}

impl Facts<'_> {
    /// The predicate as JSON.
    pub(super) fn into_predicate(self) -> Bytes {
        let Asked {
            config: config_source,
            mut parameters,
            vcs,
        } = Asked::new(self.capture);
        let is_reduced = self.options.mode == Mode::Min && parameters.reduce();
        let is_request_complete = !parameters.frontend.is_empty() && !is_reduced;
        let is_complete = self.capture.is_complete();
        let hermetic = is_complete && !self.capture.network;
        let dependencies = dependencies(self.capture);
        let builder = Builder {
            id: &self.options.builder_id,
        };
        let extra = Extra {
            vcs,
            source: self.source,
            layers: self.layers,
        };
        let text = match self.options.version {
            Version::V1 => to_go_json_pretty(&PredicateV1 {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE_V1,
                    resolved_dependencies: dependencies,
                    external_parameters: ExternalParameters {
                        config_source: ConfigSourceV1 {
                            uri: config_source.uri,
                            path: config_source.path,
                        },
                        request: parameters,
                    },
                    internal_parameters: internal_parameters(self.config, self.platform),
                },
                run_details: RunDetails {
                    builder,
                    metadata: MetadataV1 {
                        invocation_id: self.invocation,
                        started_on: self.started,
                        finished_on: self.finished,
                        buildkit_metadata: extra,
                        buildkit_hermetic: hermetic,
                        buildkit_completeness: CompletenessV1 {
                            request: is_request_complete,
                            resolved_dependencies: is_complete,
                        },
                        buildkit_reproducible: self.options.reproducible,
                    },
                },
            }),
            Version::V02 => to_go_json_pretty(&PredicateV02 {
                builder,
                build_type: BUILD_TYPE_V02,
                materials: dependencies,
                invocation: InvocationV02 {
                    config_source: ConfigSourceV02 {
                        uri: config_source.uri,
                        entry_point: config_source.path,
                    },
                    parameters,
                    environment: EnvironmentV02 {
                        platform: self.platform,
                    },
                },
                build_config: self.config,
                metadata: MetadataV02 {
                    build_invocation_id: self.invocation,
                    build_started_on: self.started,
                    build_finished_on: self.finished,
                    completeness: CompletenessV02 {
                        parameters: is_request_complete,
                        environment: true,
                        materials: is_complete,
                    },
                    reproducible: self.options.reproducible,
                    extra,
                    hermetic,
                },
            }),
        };
        text.into()
    }
}

fn dependencies(capture: &Capture) -> Vec<Dependency> {
    let images = capture.images.iter().map(|image| {
        let digest = &image.digest;
        let digest = (digest.algorithm().to_string(), digest.digest().to_owned());
        Dependency {
            uri: image.url(),
            digest: [digest].into(),
        }
    });
    images.collect()
}

/// All keys in alphabetical order, at every depth.
fn internal_parameters(config: Option<BuildConfig>, platform: String) -> Value {
    let mut parameters = Map::new();
    if let Some(config) = config {
        let config = serde_json::to_value(config).unwrap_or_default();
        parameters.insert("buildConfig".into(), config);
    }
    parameters.insert("builderPlatform".into(), platform.into());
    Value::Object(parameters)
}
