//! The path of one build, from request to outcome.

use std::sync::Arc;

use futures::future::try_join_all;

use crate::bridge::{Bridge, Opening};
use crate::cache_transfer::{self, CacheExport};
use crate::engine::Engine;
use crate::error::BuildError;
use crate::explain::FactBook;
use crate::export::{self, Export};
use crate::frontend::{self, Built, Call, FrontendResult};
use crate::late_exports;
use crate::lost::{Losses, Need};
use crate::provenance::{self, Invocation, ProvenanceOptions, UsageWanted};
use crate::request::{BuildOutcome, BuildRequest};
use crate::source_policy::SourcePolicies;
use crate::wanted_platforms::WantedPlatforms;

/// Runs one build: frontend, solver, exporters and caches. What is wrong with
/// the request is found before anything runs.
pub(crate) async fn run(
    engine: &Engine,
    request: BuildRequest,
    facts: &Arc<FactBook>,
) -> Result<BuildOutcome, BuildError> {
    let surroundings = request.surroundings();
    let policies = SourcePolicies::of(&request)?;
    let provenance = provenance::parse_options(&request.options)?;
    let usage = UsageWanted::by(engine, provenance.as_ref());
    let invocation = Invocation::begin(surroundings.compatibility, usage);
    let mut exports = export::parse(request.exports, engine.unknown_keys)?;
    let cache_exports = cache_transfer::parse_exports(&request.cache_exports, &engine.stores)?;
    cache_transfer::parse_imports(&request.cache_imports, &engine.stores)?;
    let sbom = frontend::sbom_options(&request.options)?;
    let is_fresh = request.options.contains_key("no-cache");
    let wanted = WantedPlatforms::of(&request.options, &engine.worker.platform);

    let call = Call {
        frontend: request.frontend,
        options: request.options,
        inputs: request.frontend_inputs,
    };
    let call = call.simplified();
    let opening = Opening {
        id: &request.id,
        session: request.session,
        progress: request.progress,
        entitlements: request.entitlements,
        policies,
        surroundings,
        cache_imports: request.cache_imports,
        request: call.request(engine),
    };
    let open = opening.bridge(engine, facts)?;
    let bridge = &open.bridge;
    if usage == UsageWanted::Yes {
        engine.worker.jobs.measure(bridge.job.id());
    }
    let mut result = frontend::run(bridge, call).await?;
    if result.is_answer() {
        return Ok(BuildOutcome::answer(result.metadata));
    }
    if let Some(sbom) = &sbom {
        result = frontend::with_sbom(bridge, sbom, is_fresh, result).await?;
    }

    let late = request.late_exports.as_ref();
    if late.is_some() {
        let refs = Built::new(bridge, &result, Need::Nothing).await?.ref_ids();
        let picked = late_exports::pick(late, &result.metadata, refs, exports.len());
        exports.extend(export::parse(picked.await?, engine.unknown_keys)?);
    }
    let delivery = Delivery {
        bridge,
        result: &result,
        wanted: &wanted,
        invocation: &invocation,
        provenance: provenance.as_ref(),
        cache_exports: &cache_exports,
    };
    let mut outcome = delivery.run(exports).await?;
    let mounts = cache_transfer::MountExports::of(&cache_exports);
    outcome.response.extend(mounts.run(bridge).await?);
    late_exports::finish(late, &outcome.response).await?;
    Ok(outcome)
}

/// A frontend's result, and what is to become of it.
struct Delivery<'a> {
    bridge: &'a Arc<Bridge>,
    result: &'a FrontendResult,
    wanted: &'a WantedPlatforms,
    invocation: &'a Arc<Invocation>,
    provenance: Option<&'a ProvenanceOptions>,
    cache_exports: &'a [CacheExport],
}

impl Delivery<'_> {
    /// Computes and exports the result, once more where a cache lost what exports find out that they need.
    async fn run(&self, mut exports: Vec<Export>) -> Result<BuildOutcome, BuildError> {
        let mut losses = Losses::default();
        loop {
            let again = export::again(&exports);
            let outcome = self.run_once(exports).await;
            let (Err(error), Some(again)) = (&outcome, again) else {
                return outcome;
            };
            if !losses.explain(self.bridge, error).await {
                return outcome;
            }
            self.result.forget_lost().await?;
            exports = again;
        }
    }

    async fn run_once(&self, exports: Vec<Export>) -> Result<BuildOutcome, BuildError> {
        let (bridge, engine) = (self.bridge, &self.bridge.engine);
        let need = export::need(&exports);
        let mut built = Built::new(bridge, self.result, need).await?;
        if let Some(options) = self.provenance {
            let platforms = &built.platforms;
            let attestations = provenance::attest(engine, self.invocation, options, platforms)?;
            built.attest(attestations);
        }
        if export::want_build_info(&exports) {
            provenance::inform(&mut built.platforms);
        }
        let carrier = Built::inline_carrier(&exports, self.cache_exports);
        let input = built.export_input(bridge, carrier).await?;
        // A build that only fills the cache writes nothing more, and need not look.
        if !exports.is_empty() {
            engine.worker.caretaker.make_room().await;
        }
        let (session, progress) = (&bridge.session, &bridge.progress);
        let results: Vec<_> = built.platforms.iter().map(|it| &it.platform).collect();
        let warnings = self.wanted.compare(&results, built.shape);
        let exported = export::run(engine, (session, progress), &input, exports, &warnings);
        let (exported, pushes) = exported.await?;
        let pushes = try_join_all(pushes.into_iter().map(|push| push.run(engine, session)));
        let solved = built.solved();
        let caches = self.cache_exports;
        let caches = cache_transfer::export_all(engine, session, progress, &solved, caches);
        let origins = provenance::for_history(engine, self.invocation, self.provenance, &built);
        let ((), answers, origins) =
            futures::try_join!(async { pushes.await.map(drop) }, caches, async {
                Ok(origins.await)
            })?;
        bridge.imports.tell_losses(progress);
        let mut outcome = exported;
        outcome.response.extend(answers);
        outcome.response.extend(self.result.response());
        outcome.provenance = origins;
        Ok(outcome)
    }
}
