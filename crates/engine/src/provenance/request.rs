//! What was asked for, as far as provenance may say it.

use std::collections::BTreeMap;

use kiln_llb::git_url::GitRef;
use kiln_llb::redact;
use serde::Serialize;

use super::capture::Capture;
use super::predicate::{DigestSet, of_commit, of_digest};
use crate::request::Attributes;
use crate::surroundings::Compatibility;

/// Options that only concern the machine.
const OF_THE_MACHINE: [&str; 4] = [
    "cgroup-parent",
    "image-resolve-mode",
    "platform",
    "cache-imports",
];

/// What was asked for, taken apart.
#[derive(Debug)]
pub(super) struct Asked {
    /// Where the frontend's own file is from.
    pub(super) config: ConfigSource,
    pub(super) parameters: Parameters,
    /// Version control as the client sees it.
    pub(super) vcs: BTreeMap<String, String>,
}

/// Where the frontend's own file is from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ConfigSource {
    pub(super) uri: String,
    /// By algorithm, if it is known.
    pub(super) digest: DigestSet,
    pub(super) path: String,
}

/// The request's parameters.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) frontend: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) args: Attributes,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Lent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Lent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locals: Vec<Local>,
    compatibility_version: u32,
}

/// Something the client lent.
#[derive(Debug, Clone, Serialize)]
struct Lent {
    id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Local {
    name: String,
}

impl Asked {
    pub(super) fn new(capture: &Capture, compatibility: Compatibility) -> Self {
        let request = capture.request.as_ref();
        let mut args = request.map_or_else(Attributes::new, |it| shown(&it.options));
        let config = ConfigSource::take(&mut args).found_in(capture);
        let vcs = take_vcs(&mut args);
        let lent = |from: &BTreeMap<String, bool>| {
            let lent = from.iter().map(|(id, optional)| Lent {
                id: id.clone(),
                optional: *optional,
            });
            lent.collect()
        };
        let locals = capture.locals.iter().cloned();
        let parameters = Parameters {
            frontend: request.map_or(String::new(), |it| it.frontend.clone()),
            args,
            secrets: lent(&capture.secrets),
            ssh: lent(&capture.ssh),
            locals: locals.map(|name| Local { name }).collect(),
            compatibility_version: compatibility.number(),
        };
        Self {
            config,
            parameters,
            vcs,
        }
    }
}

impl Parameters {
    /// Leaves out what says too much for `mode=min`. Whether arguments were among it.
    pub(super) fn reduce(&mut self) -> bool {
        let before = self.args.len();
        let tells = |key: &str| key.starts_with("build-arg:") || key.starts_with("label:");
        self.args.retain(|key, _| !tells(key));
        self.secrets.clear();
        self.ssh.clear();
        self.args.len() != before
    }
}

/// The options that belong into provenance.
fn shown(options: &Attributes) -> Attributes {
    let context_key = match options.get("contextkey") {
        Some(key) if !key.is_empty() => key,
        _ => "context",
    };
    let shown = options
        .iter()
        .filter(|(key, _)| !OF_THE_MACHINE.contains(&key.as_str()) && !key.starts_with("attest:"));
    let redacted = shown.map(|(key, value)| {
        let is_context = key == context_key || key.starts_with("context:");
        let value = match is_context {
            true => redact::credentials(value),
            false => value.clone(),
        };
        (key.clone(), value)
    });
    redacted.collect()
}

impl ConfigSource {
    /// Takes what names the frontend's file out of the arguments.
    fn take(args: &mut Attributes) -> Self {
        let given = |key: &str| args.get(key).filter(|value| !value.is_empty());
        let key = match (given("contextkey"), given("input:context")) {
            (Some(key), _) => key.clone(),
            (None, Some(_)) => "input:context".into(),
            (None, None) => "context".into(),
        };
        let mut take = |key: &str| {
            let is_given = args.get(key).is_some_and(|value| !value.is_empty());
            is_given
                .then(|| args.remove(key))
                .flatten()
                .unwrap_or_default()
        };
        Self {
            uri: redact::credentials(&take(&key)),
            digest: DigestSet::new(),
            path: take("filename"),
        }
    }

    /// With the digest of what the build took from there.
    fn found_in(self, capture: &Capture) -> Self {
        let git = GitRef::parse(&self.uri).ok();
        let fragment = |git: &GitRef, subdir: &str| match (git.reference.as_str(), subdir) {
            ("", "") => git.remote.clone(),
            (reference, "") => format!("{}#{reference}", git.remote),
            (reference, subdir) => format!("{}#{reference}:{subdir}", git.remote),
        };
        let url = git
            .as_ref()
            .map_or(self.uri.clone(), |git| fragment(git, ""));
        if let Some(commit) = capture.repositories.get(&url) {
            return Self {
                uri: git.map_or(url, |git| fragment(&git, &git.subdir)),
                digest: of_commit(commit),
                ..self
            };
        }
        match capture.files.get(&url) {
            Some(digest) => Self {
                uri: url,
                digest: of_digest(digest),
                ..self
            },
            None => self,
        }
    }
}

fn take_vcs(args: &mut Attributes) -> BTreeMap<String, String> {
    let mut vcs = BTreeMap::new();
    args.retain(|key, value| {
        let Some(name) = key.strip_prefix("vcs:") else {
            return true;
        };
        if !value.is_empty() {
            let value = match name {
                "source" => redact::credentials(value),
                _ => value.clone(),
            };
            vcs.insert(name.to_owned(), value);
        }
        false
    });
    vcs
}
