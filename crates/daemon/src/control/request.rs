//! What `Solve` is asked for, from BuildKit's message to the engine's request.
//! Every field is understood or refused by name.

use std::collections::{BTreeMap, BTreeSet};

use kiln_engine::{
    Attributes, CacheEntry, Compatibility, Definition, Entitlement, Frontend, StepNetwork,
};
use kiln_protocol::control::{CacheOptions, CacheOptionsEntry, Exporter, SolveRequest};
use kiln_protocol::sourcepolicy::Policy;
use tonic::Status;

/// What the daemon demands of all builds.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Privileges that they may ask for.
    pub(super) allowed: BTreeSet<Entitlement>,
    /// How their steps reach the network, unless they ask for a proxy themselves.
    pub(super) network: StepNetwork,
}

/// A request that was found sound.
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) frontend: Frontend,
    pub(super) options: Attributes,
    pub(super) frontend_inputs: BTreeMap<String, Definition>,
    /// The client's session; empty if it has none.
    pub(super) session: String,
    pub(super) exporters: Vec<Exporter>,
    pub(super) cache_imports: Vec<CacheEntry>,
    pub(super) cache_exports: Vec<CacheEntry>,
    pub(super) entitlements: BTreeSet<Entitlement>,
    pub(super) source_policy: Option<Policy>,
    /// The session that decides about sources; empty if none does.
    pub(super) policy_session: String,
    /// How steps reach the network.
    pub(super) network: StepNetwork,
    /// Which behaviour digests depend on.
    pub(super) compatibility: Compatibility,
    /// The client picks more of them once the result is there.
    pub(super) picks_exporters: bool,
    /// Not for the history.
    pub(super) is_internal: bool,
}

impl Wanted {
    /// Checks a request.
    #[allow(deprecated)]
    pub(super) fn check(request: SolveRequest, terms: &Terms) -> Result<Self, Status> {
        if request.r#ref.is_empty() {
            return Err(Status::invalid_argument("the build has no Ref to name it"));
        }
        let compatibility = Compatibility::of(request.compatibility_version);
        let compatibility = compatibility.map_err(Status::invalid_argument)?;
        let entitlements = entitlements(&request.entitlements, &terms.allowed)?;
        // The name of a source whose time is wanted is for the frontend, which says what that is.
        let epoch = request.frontend_attrs.get("build-arg:SOURCE_DATE_EPOCH");
        let epoch = epoch.filter(|epoch| epoch.parse::<i64>().is_ok()).cloned();
        let mut exporters = exporters(
            request.exporters,
            request.exporter_deprecated,
            request.exporter_attrs_deprecated,
        );
        if let Some(epoch) = epoch {
            exporters.iter_mut().for_each(|exporter| {
                set_default(exporter, "source-date-epoch", &epoch);
            });
        }
        if compatibility == Compatibility::V10 {
            exporters.iter().try_for_each(refuse_zstd)?;
        }
        if compatibility < Compatibility::V30 {
            let mut names = request.frontend_attrs.keys();
            let has_attestations = names.any(|name| name.starts_with("attest:"));
            exporters
                .iter_mut()
                .for_each(|exporter| set_earlier_types(exporter, has_attestations));
        }
        let frontend_inputs = request.frontend_inputs.into_iter();
        let frontend_inputs = frontend_inputs
            .map(|(name, input)| (name, input.into()))
            .collect();
        let cache = request.cache.unwrap_or_default();
        let (cache_imports, cache_exports) = caches(cache)?;
        let (frontend, options) =
            frontend(request.frontend, request.frontend_attrs, request.definition)?;
        Ok(Self {
            id: request.r#ref,
            frontend,
            options,
            frontend_inputs,
            session: request.session,
            exporters,
            cache_imports,
            cache_exports,
            entitlements,
            source_policy: request.source_policy,
            policy_session: request.source_policy_session,
            compatibility,
            network: match request.proxy_network {
                true => StepNetwork::Proxied,
                false => terms.network,
            },
            picks_exporters: request.enable_session_exporter,
            is_internal: request.internal,
        })
    }
}

/// Early versions had no layers compressed by zstd.
fn refuse_zstd(exporter: &Exporter) -> Result<(), Status> {
    let kind = exporter.r#type.as_str();
    let compression = exporter.attrs.get("compression").map_or("", String::as_str);
    match (kind, compression) {
        ("image" | "oci" | "docker", "zstd") => Err(Status::unknown(format!(
            "unsupported compatibility-version {} feature {kind} exporter compression=zstd",
            Compatibility::V10.number()
        ))),
        _ => Ok(()),
    }
}

/// What the client grants and the daemon allows.
fn entitlements(
    names: &[String],
    allowed: &BTreeSet<Entitlement>,
) -> Result<BTreeSet<Entitlement>, Status> {
    let parsed = names.iter().map(|name| {
        let entitlement = name.parse::<Entitlement>();
        let entitlement = entitlement.map_err(Status::invalid_argument)?;
        if allowed.iter().any(|it| it.name() == entitlement.name()) {
            return Ok(entitlement);
        }
        Err(Status::permission_denied(format!(
            "granting entitlement {name} is not allowed by build daemon configuration"
        )))
    });
    parsed.collect()
}

/// Exporters, also in the form of clients older than BuildKit 0.13.
fn exporters(
    exporters: Vec<Exporter>,
    kind: String,
    attrs: BTreeMap<String, String>,
) -> Vec<Exporter> {
    if exporters.is_empty() && !kind.is_empty() {
        return vec![Exporter {
            r#type: kind,
            attrs,
        }];
    }
    exporters
}

fn set_default(exporter: &mut Exporter, key: &str, value: &str) {
    let attribute = exporter.attrs.entry(key.to_owned());
    attribute.or_insert_with(|| value.to_owned());
}

/// Images had Docker's media types before BuildKit 0.31, unless attestations
/// were with them, and those were no artifacts.
fn set_earlier_types(exporter: &mut Exporter, has_attestations: bool) {
    match (exporter.r#type.as_str(), has_attestations) {
        ("image", false) => set_default(exporter, "oci-mediatypes", "false"),
        ("image" | "oci", true) => set_default(exporter, "oci-artifact", "false"),
        _ => {}
    }
}

/// Imports and exports, also in the form of clients older than BuildKit 0.4.
#[allow(deprecated)]
fn caches(mut cache: CacheOptions) -> Result<(Vec<CacheEntry>, Vec<CacheEntry>), Status> {
    if !cache.export_ref_deprecated.is_empty() {
        let mut attrs = cache.export_attrs_deprecated;
        attrs.insert("ref".into(), cache.export_ref_deprecated);
        cache.exports.push(registry_cache(attrs));
    }
    for reference in cache.import_refs_deprecated {
        let attrs = BTreeMap::from([("ref".to_owned(), reference)]);
        cache.imports.push(registry_cache(attrs));
    }
    let mut exports: Vec<CacheEntry> = Vec::new();
    for entry in cache.exports.into_iter().map(cache_entry) {
        let is_known = exports.iter().any(|known| is_same_cache(known, &entry));
        match entry.kind.as_str() {
            "inline" if is_known => {}
            kind if is_known => {
                return Err(Status::invalid_argument(format!(
                    "duplicate cache exports [{kind}]"
                )));
            }
            _ => exports.push(entry),
        }
    }
    let imports = cache.imports.into_iter().map(cache_entry);
    Ok((imports.collect(), exports))
}

fn registry_cache(attrs: BTreeMap<String, String>) -> CacheOptionsEntry {
    CacheOptionsEntry {
        r#type: "registry".into(),
        attrs,
    }
}

fn cache_entry(entry: CacheOptionsEntry) -> CacheEntry {
    CacheEntry {
        kind: entry.r#type,
        attributes: entry.attrs,
    }
}

/// Whether two exports would write to the same place.
fn is_same_cache(one: &CacheEntry, other: &CacheEntry) -> bool {
    let reference = |entry: &CacheEntry| entry.attributes.get("ref").cloned();
    match (one.kind.as_str(), other.kind.as_str()) {
        ("inline", "inline") => true,
        ("registry", "registry") if reference(one).is_some() => reference(one) == reference(other),
        _ => one == other,
    }
}

fn frontend(
    name: String,
    mut options: Attributes,
    definition: Option<kiln_protocol::pb::Definition>,
) -> Result<(Frontend, Attributes), Status> {
    let has_context = options
        .keys()
        .any(|key| key == "context:dockerfile.v0" || key.starts_with("context:dockerfile.v0::"));
    let source = options.get("source").map(String::as_str);
    // Clients name the built-in frontend as if it were an image.
    let is_built_in = name == "gateway.v0" && source == Some("dockerfile.v0") && !has_context;
    if is_built_in {
        options.remove("source");
    }
    let frontend = match (name.as_str(), definition) {
        ("", Some(definition)) => Frontend::Definition(definition.into()),
        ("", None) => Frontend::Client,
        (_, Some(definition)) if !definition.def.is_empty() => {
            return Err(Status::invalid_argument(
                "cannot solve with both Definition and Frontend specified",
            ));
        }
        _ if is_built_in => Frontend::Dockerfile,
        _ => Frontend::named(&name)
            .ok_or_else(|| Status::invalid_argument(format!("invalid frontend: {name}")))?,
    };
    Ok((frontend, options))
}
