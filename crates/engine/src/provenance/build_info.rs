//! Build information (`buildinfo`): what a result was made from, as BuildKit told it before there was provenance.
//! The form is that of its version 0.10: a frontend, its attributes, and sources with their pins.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_exporter::{BuildInfo, PackageKind};
use kiln_llb::redact;
use serde::Serialize;

use super::capture::{self, Capture};
use super::images::ImageSource;
use super::ledger::FrontendRequest;
use crate::frontend::BuiltPlatform;

/// Attributes that are told; those that begin with one of [`FAMILIES`] are too.
const TOLD: [&str; 13] = [
    "cmdline",
    "context",
    "filename",
    "source",
    "add-hosts",
    "cgroup-parent",
    "force-network-mode",
    "hostname",
    "image-resolve-mode",
    "platform",
    "shm-size",
    "target",
    "ulimit",
];

const FAMILIES: [&str; 4] = ["build-arg:", "context:", "label:", "vcs:"];

/// Build arguments that steer the frontend and say nothing of the result.
const STEERING: &str = "build-arg:BUILDKIT_";

#[derive(Serialize)]
struct Info {
    #[serde(skip_serializing_if = "str::is_empty")]
    frontend: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Source {
    r#type: &'static str,
    r#ref: String,
    pin: String,
}

/// Adds to each result what it was made from.
pub(crate) fn inform(built: &mut [BuiltPlatform]) {
    let captures = capture::all(built);
    for (built, capture) in built.iter_mut().zip(&captures) {
        built.build_info = info(capture);
    }
}

fn info(capture: &Capture) -> Option<BuildInfo> {
    let request = capture.request.as_deref();
    let mut info = Info {
        frontend: request.map_or_else(String::new, |it| it.frontend.clone()),
        attrs: request.map(attributes).unwrap_or_default(),
        sources: sources(capture),
    };
    let whole = serde_json::to_vec(&info).ok()?;
    info.attrs.clear();
    Some(BuildInfo {
        public: Bytes::from(serde_json::to_vec(&info).ok()?),
        whole: Bytes::from(whole),
    })
}

fn attributes(request: &FrontendRequest) -> BTreeMap<String, String> {
    let is_told = |key: &str| {
        let is_of_family = FAMILIES.iter().any(|family| key.starts_with(family));
        TOLD.contains(&key) || (is_of_family && !key.starts_with(STEERING))
    };
    let told = request.options.iter().filter(|(key, _)| is_told(key));
    told.map(|(key, value)| {
        let may_be_address = key.starts_with("context") || key.starts_with("vcs:");
        let value = match may_be_address {
            true => redact::credentials(value),
            false => value.clone(),
        };
        (key.clone(), value)
    })
    .collect()
}

fn sources(capture: &Capture) -> Vec<Source> {
    let files = capture.files.iter().map(|(url, digest)| Source {
        r#type: "http",
        r#ref: url.clone(),
        pin: digest.to_string(),
    });
    let repositories = capture.repositories.iter().map(|(url, commit)| Source {
        r#type: "git",
        r#ref: url.clone(),
        pin: commit.clone(),
    });
    let images = capture.images.iter().filter_map(source);
    images.chain(repositories).chain(files).collect()
}

/// Images of registries; others had no place in build information.
fn source(image: &ImageSource) -> Option<Source> {
    (image.kind == PackageKind::Docker).then(|| Source {
        r#type: "docker-image",
        r#ref: image.reference.to_string(),
        pin: image.digest.to_string(),
    })
}
