//! What a client asks of a daemon to build: plain data.

use std::collections::BTreeMap;

use kiln_protocol::{control, pb, sourcepolicy};
use kiln_session::{Services, SessionId};

/// One build.
#[derive(Debug, Clone, Default)]
pub struct SolveRequest {
    /// Names the build; unique among all of the daemon's builds.
    pub reference: String,
    /// What is to be built.
    pub frontend: Frontend,
    /// Options for the frontend, such as `target` or `build-arg:NAME`.
    pub options: BTreeMap<String, String>,
    /// Definitions that the frontend may refer to by name.
    pub inputs: BTreeMap<String, pb::Definition>,
    /// Where results go; what arrives here is in the session's exports, by
    /// the same number.
    pub exports: Vec<Export>,
    /// Caches to read from, first match wins.
    pub cache_imports: Vec<CacheEntry>,
    /// Caches to write once the build is done.
    pub cache_exports: Vec<CacheEntry>,
    /// Privileges that the user grants, such as `network.host`.
    pub entitlements: Vec<String>,
    /// Rules about sources.
    pub source_policy: Option<sourcepolicy::Policy>,
    /// All of the steps' traffic goes through the daemon's proxy.
    pub proxy_network: bool,
    /// The build leaves no record in the history.
    pub internal: bool,
    /// Sessions with equal keys lend the same places, so what one of them
    /// sent need not be sent again by the next.
    pub shared_key: String,
}

/// What turns a request into LLB.
#[derive(Debug, Clone)]
pub enum Frontend {
    /// None: the client brings LLB of its own.
    Definition(pb::Definition),
    /// A frontend that the daemon has, such as `dockerfile.v0`.
    Named(String),
}

impl Default for Frontend {
    fn default() -> Self {
        Self::Named("dockerfile.v0".into())
    }
}

/// Where one result goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// `image`, `local`, `tar`, `oci` or `docker`.
    pub kind: String,
    /// The exporter's other keys.
    pub attributes: BTreeMap<String, String>,
}

/// A cache to import from or export to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheEntry {
    /// `local`, `registry`, `inline`, …
    pub kind: String,
    /// The cache type's other keys.
    pub attributes: BTreeMap<String, String>,
}

/// What a build leaves behind beside its exports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SolveOutcome {
    /// The exporters' answers, such as `containerimage.digest`.
    pub response: BTreeMap<String, String>,
    /// The answer to a question to the frontend (`result.txt`,
    /// `result.json`, …); empty for builds.
    pub answer: BTreeMap<String, Vec<u8>>,
}

/// The session of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LentSession<'a> {
    /// Its id.
    id: &'a str,
    /// It decides about sources.
    has_policy: bool,
}

impl<'a> LentSession<'a> {
    pub(crate) fn new(id: &'a SessionId, services: &Services) -> Self {
        Self {
            id: id.as_str(),
            has_policy: services.policy.is_some(),
        }
    }
}

/// The option that turns a build into a question to the frontend.
const REQUEST_ID: &str = "requestid";

impl SolveRequest {
    /// Whether it is a question to the frontend, such as for an outline.
    pub fn is_question(&self) -> bool {
        self.options.contains_key(REQUEST_ID)
    }

    /// The request as the control service takes it. A build that the client
    /// drives itself names no frontend there.
    pub(crate) fn to_wire(&self, session: LentSession<'_>) -> control::SolveRequest {
        let (definition, frontend) = match &self.frontend {
            Frontend::Definition(definition) => (Some(definition.clone()), ""),
            Frontend::Named(_) if self.is_question() => (None, ""),
            Frontend::Named(name) => (None, name.as_str()),
        };
        let mut attributes = self.options.clone();
        if matches!(self.frontend, Frontend::Named(_)) && !self.cache_imports.is_empty() {
            attributes.insert(
                "cache-imports".into(),
                cache_imports_text(&self.cache_imports),
            );
        }
        let exports = self.exports.iter().map(|export| control::Exporter {
            r#type: export.kind.clone(),
            attrs: export.attributes.clone(),
        });
        let first = self.exports.first().cloned().unwrap_or_default();
        // Daemons before version 0.13 know of one exporter only.
        #[allow(deprecated)]
        control::SolveRequest {
            r#ref: self.reference.clone(),
            definition,
            exporters: exports.collect(),
            exporter_deprecated: first.kind,
            exporter_attrs_deprecated: first.attributes,
            session: session.id.to_owned(),
            frontend: frontend.to_owned(),
            frontend_attrs: attributes,
            frontend_inputs: self.inputs.clone(),
            cache: Some(control::CacheOptions {
                exports: self.cache_exports.iter().map(wire_cache).collect(),
                imports: self.cache_imports.iter().map(wire_cache).collect(),
                ..control::CacheOptions::default()
            }),
            entitlements: self.entitlements.clone(),
            internal: self.internal,
            source_policy: self.source_policy.clone(),
            source_policy_session: match session.has_policy {
                true => session.id.to_owned(),
                false => String::new(),
            },
            proxy_network: self.proxy_network,
            ..control::SolveRequest::default()
        }
    }
}

fn wire_cache(entry: &CacheEntry) -> control::CacheOptionsEntry {
    control::CacheOptionsEntry {
        r#type: entry.kind.clone(),
        attrs: entry.attributes.clone(),
    }
}

/// Imports in the form in which frontends take them.
pub(crate) fn cache_imports_text(entries: &[CacheEntry]) -> String {
    let entries = entries
        .iter()
        .map(|entry| serde_json::json!({"Type": entry.kind, "Attrs": entry.attributes}));
    serde_json::Value::from_iter(entries).to_string()
}
