//! Builds on a daemon, which gets what it needs through the session.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kiln_client::{Client, Export, Frontend, SolveRequest};
use kiln_engine::CacheEntry;
use kiln_protocol::pb;
use kiln_session::progress::ProgressSink;
use kiln_session::{Delivery, RECEIVER, Services};
use prost::Message as _;

use super::Outcome;
use super::output::Output;
use super::plan::{self, BuildPlan};
use crate::failure::Failure;

pub(super) async fn build(
    client: &Client,
    plan: BuildPlan,
    progress: ProgressSink,
) -> Result<Outcome, Failure> {
    let (request, services) = split(plan, Output::deliver)?;
    let outcome = client.solve(request, services, progress).await?;
    Ok(Outcome {
        response: outcome.response,
        answer: outcome.answer,
    })
}

/// What the daemon is asked, and what it may use of this side. `deliver` opens the places of outputs.
pub(super) fn split(
    plan: BuildPlan,
    deliver: impl Fn(&Output) -> Result<Option<Delivery>, Failure>,
) -> Result<(SolveRequest, Services), Failure> {
    let shared_key = shared_key(&plan.directories);
    let mut exports = Vec::new();
    let mut deliveries = BTreeMap::new();
    for (number, output) in plan.outputs.into_iter().enumerate() {
        let delivery = deliver(&output)?;
        let mut attributes = output.attributes;
        if let Some(Delivery::Receiver(receiver)) = &delivery {
            let names = receiver.layer_names().name();
            attributes.insert(RECEIVER.to_owned(), names.to_owned());
        }
        exports.push(Export {
            kind: output.kind,
            attributes,
        });
        deliveries.extend(delivery.map(|delivery| (number, delivery)));
    }
    let request = SolveRequest {
        reference: plan.id.as_str().to_owned(),
        frontend: frontend(plan.frontend)?,
        options: plan.options,
        exports,
        cache_imports: plan.cache_imports.into_iter().map(cache).collect(),
        cache_exports: plan.cache_exports.into_iter().map(cache).collect(),
        entitlements: plan.entitlements,
        source_policy: plan.source_policy,
        proxy_network: plan.proxy_network,
        shared_key,
        ..SolveRequest::default()
    };
    let layouts = plan.oci_layouts.into_iter();
    let services = Services {
        directories: plan.directories,
        stores: layouts
            .map(|(name, path)| (format!("oci:{name}"), path))
            .collect(),
        token_seeds: plan.credentials.token_seeds(),
        credentials: Some(Arc::new(plan.credentials)),
        secrets: plan.secrets,
        ssh: plan.ssh,
        exports: deliveries,
        ..Services::default()
    };
    Ok((request, services))
}

fn frontend(frontend: plan::Frontend) -> Result<Frontend, Failure> {
    match frontend {
        plan::Frontend::Named(name) => Ok(Frontend::Named(name)),
        plan::Frontend::Definition(definition) => {
            let definition = pb::Definition::decode(definition.encode());
            Ok(Frontend::Definition(definition.map_err(Failure::usage)?))
        }
    }
}

fn cache(entry: CacheEntry) -> kiln_client::CacheEntry {
    kiln_client::CacheEntry {
        kind: entry.kind,
        attributes: entry.attributes,
    }
}

/// Names the place that is lent: this machine's directories. Contexts of
/// different places must not be taken for versions of each other, or each
/// would be sent as the difference to the last.
fn shared_key(directories: &BTreeMap<String, std::path::PathBuf>) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let places = directories
        .iter()
        .map(|(name, path)| format!("{name}={:?}", absolute(path)));
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let places = places.fold(machine.into_owned(), |all, place| format!("{all}\n{place}"));
    let digest = kiln_llb::digest_of(places).to_string();
    digest.trim_start_matches("sha256:").to_owned()
}
