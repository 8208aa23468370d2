//! What was asked for, as far as provenance may say it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_llb::redact;
use serde::Serialize;

use super::capture::Capture;
use super::config_source::ConfigSource;
use super::ledger::FrontendRequest;
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

/// The request's parameters.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
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
    #[serde(skip_serializing_if = "Inputs::is_empty")]
    inputs: Inputs,
    /// What the whole build was asked for, if that is another request.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Box<Request>>,
    /// `None` for requests behind another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    compatibility_version: Option<u32>,
}

/// The requests that made what a request was given, by the names of the inputs.
pub(crate) type Inputs = BTreeMap<String, Request>;

/// A request as others tell of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    config_source: ConfigSource,
    #[serde(rename = "request")]
    parameters: Parameters,
}

/// Something the client lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Lent {
    id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Local {
    name: String,
}

impl Asked {
    pub(super) fn new(capture: &Capture, compatibility: Compatibility) -> Self {
        let of = |request: &Option<Arc<FrontendRequest>>| request.as_deref().map(Request::of);
        let request = of(&capture.request);
        let root = of(&capture.root).filter(|root| !root.is_empty());
        let root = root.filter(|root| request.as_ref().is_some_and(|request| request != root));
        let request = request.unwrap_or_default().found_in(capture);
        let mut args = request.parameters.args;
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
            args,
            secrets: lent(&capture.secrets),
            ssh: lent(&capture.ssh),
            locals: locals.map(|name| Local { name }).collect(),
            root: root.map(|root| Box::new(root.found_in(capture))),
            compatibility_version: Some(compatibility.number()),
            ..request.parameters
        };
        Self {
            config: request.config_source,
            parameters,
            vcs,
        }
    }
}

impl Request {
    /// What may be told of a request while nothing is known of its sources.
    pub(super) fn of(request: &FrontendRequest) -> Self {
        let mut args = shown(&request.options);
        Self {
            config_source: ConfigSource::take(&mut args),
            parameters: Parameters {
                frontend: request.frontend.clone(),
                args,
                inputs: request.inputs.clone(),
                ..Parameters::default()
            },
        }
    }

    /// With the digests of what was taken from their sources.
    fn found_in(mut self, capture: &Capture) -> Self {
        let inputs = self.parameters.inputs.into_iter();
        self.parameters.inputs = inputs
            .map(|(name, input)| (name, input.found_in(capture)))
            .collect();
        self.config_source = self.config_source.found_in(capture);
        self
    }

    /// Whether there is nothing in it that was asked for.
    fn is_empty(&self) -> bool {
        let Parameters {
            frontend,
            args,
            inputs,
            ..
        } = &self.parameters;
        frontend.is_empty() && args.is_empty() && inputs.is_empty()
    }

    /// How many requests it tells of.
    pub(super) fn size(&self) -> usize {
        let inputs = self.parameters.inputs.values();
        1 + inputs.map(Self::size).sum::<usize>()
    }
}

impl Parameters {
    /// Leaves out what says too much for `mode=min`, of the requests behind it, too. Whether arguments were among it.
    pub(super) fn reduce(&mut self) -> bool {
        let before = self.args.len();
        let tells = |key: &str| key.starts_with("build-arg:") || key.starts_with("label:");
        self.args.retain(|key, _| !tells(key));
        self.secrets.clear();
        self.ssh.clear();
        let mut is_reduced = self.args.len() != before;
        for request in self.inputs.values_mut().chain(self.root.as_deref_mut()) {
            is_reduced |= request.parameters.reduce();
        }
        is_reduced
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
        let value = match is_context || key == "vcs:source" {
            true => redact::credentials(value),
            false => value.clone(),
        };
        (key.clone(), value)
    });
    redacted.collect()
}

fn take_vcs(args: &mut Attributes) -> BTreeMap<String, String> {
    let mut vcs = BTreeMap::new();
    args.retain(|key, value| {
        let Some(name) = key.strip_prefix("vcs:") else {
            return true;
        };
        if !value.is_empty() {
            vcs.insert(name.to_owned(), value.clone());
        }
        false
    });
    vcs
}
