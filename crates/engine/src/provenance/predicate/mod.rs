//! Predicates in the two versions of SLSA provenance.

mod v02;
mod v1;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kiln_executor::usage::SystemSample;
use kiln_llb::json::to_go_json_pretty;
use kiln_session::progress::Timestamp;
use oci_spec::image::Digest;
use serde::Serialize;
use serde_json::Value;

use super::capture::{Capture, Uncertain};
use super::environment::ProvenanceEnvironment;
use super::layers::Layers;
use super::options::{Mode, ProvenanceOptions, Version};
use super::request::Asked;
use super::steps::{BuildConfig, SourceMap};
use crate::request::Frontend;
use crate::surroundings::Compatibility;

/// Where the version of the frontend's language stands beside the platform.
const LANGUAGE: &str = "dockerfileVersion";

/// Everything a predicate says.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) capture: &'a Capture,
    pub(super) options: &'a ProvenanceOptions,
    pub(super) invocation: String,
    pub(super) compatibility: Compatibility,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    /// The platform of the machine.
    pub(super) platform: String,
    /// What else is said of the machine.
    pub(super) environment: &'a ProvenanceEnvironment,
    pub(super) config: Option<BuildConfig>,
    pub(super) source: Option<SourceMap>,
    pub(super) layers: Layers,
    /// What the machine did meanwhile.
    pub(super) system: Vec<SystemSample>,
}

impl Facts<'_> {
    /// The predicate as JSON.
    pub(super) fn into_predicate(self) -> Bytes {
        let mut asked = Asked::new(self.capture, self.compatibility);
        let is_reduced = self.options.mode == Mode::Min && asked.parameters.reduce();
        let claims = Claims {
            request: !asked.parameters.frontend.is_empty() && !is_reduced,
            dependencies: self.capture.is_complete(),
            hermetic: self.capture.is_complete() && !self.capture.network,
        };
        let text = match self.options.version {
            Version::V1 => to_go_json_pretty(&v1::Predicate::new(self, asked, claims)),
            Version::V02 => to_go_json_pretty(&v02::Predicate::new(self, asked, claims)),
        };
        text.into()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        let images = self.capture.images.iter();
        let images = images.map(|image| Dependency::new(image.url(), &image.digest));
        let blobs = self.capture.blobs.iter();
        let blobs = blobs.map(|(url, digest)| Dependency::new(url.clone(), digest));
        let repositories = self.capture.repositories.iter();
        let repositories = repositories.map(|(url, commit)| Dependency::of_commit(url, commit));
        let files = self.capture.files.iter();
        let files = files.map(|(url, digest)| Dependency::new(url.clone(), digest));
        let named = images.chain(blobs).chain(repositories);
        named.chain(files).collect()
    }

    fn network(&self) -> Option<Network> {
        let uncertain = &self.capture.uncertain;
        self.capture.proxied.then(|| Network {
            mode: "proxy",
            proxy: (!uncertain.is_empty()).then(|| NetworkProxy {
                incomplete: uncertain.clone(),
            }),
        })
    }

    /// Which version of the Dockerfile language it was, for those who ask the built-in frontend.
    fn language_version(&self) -> Option<(&'static str, Value)> {
        let request = self.capture.request.as_ref();
        let is_built_in = request.is_some_and(|it| it.frontend == Frontend::Dockerfile.name());
        is_built_in.then(|| (LANGUAGE, kiln_dockerfile::LANGUAGE_VERSION.into()))
    }

    fn builder(&self) -> Builder {
        Builder {
            id: self.options.builder_id.clone(),
        }
    }
}

/// What can be relied on.
#[derive(Debug, Clone, Copy)]
struct Claims {
    /// All parameters of the request are there.
    request: bool,
    /// All that went into the result is there.
    dependencies: bool,
    /// No step could reach a network.
    hermetic: bool,
}

/// Something that went into the result.
#[derive(Debug, Serialize)]
struct Dependency {
    uri: String,
    digest: DigestSet,
}

impl Dependency {
    fn new(uri: String, digest: &Digest) -> Self {
        Self {
            uri,
            digest: of_digest(digest),
        }
    }

    fn of_commit(url: &str, commit: &str) -> Self {
        Self {
            uri: url.to_owned(),
            digest: of_commit(commit),
        }
    }
}

/// Digests by algorithm.
pub(super) type DigestSet = BTreeMap<String, String>;

pub(super) fn of_digest(digest: &Digest) -> DigestSet {
    [(digest.algorithm().to_string(), digest.digest().to_owned())].into()
}

/// A commit's name is a digest, by SHA-1 or SHA-256.
pub(super) fn of_commit(commit: &str) -> DigestSet {
    let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
    [(algorithm.to_owned(), commit.to_owned())].into()
}

#[derive(Debug, Serialize)]
struct Builder {
    id: String,
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
    #[serde(rename = "sysUsage", skip_serializing_if = "Vec::is_empty")]
    system: Vec<SystemSample>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
}

/// How steps reached the network, if that is known.
#[derive(Debug, Serialize)]
struct Network {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<NetworkProxy>,
}

/// What their proxy could not be sure of.
#[derive(Debug, Serialize)]
struct NetworkProxy {
    incomplete: BTreeSet<Uncertain>,
}
