//! From a finished build to its provenance.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt as _;
use kiln_exporter::{
    Attestation, AttestationContent, AttestationKind, INLINE_ONLY, PredicateError, REASON, Shape,
};
use kiln_session::SessionId;
use kiln_session::progress::Timestamp;
use kiln_solver::Solved;

use super::capture::{self, Capture};
use super::layers;
use super::ledger::Trace;
use super::options::{Mode, ProvenanceOptions};
use super::predicate::Facts;
use super::steps::Steps;
use crate::engine::Engine;
use crate::error::{BuildError, Kind};
use crate::frontend::{Built, BuiltPlatform};
use crate::ops::Output;
use crate::request::Provenance;
use crate::surroundings::Compatibility;
use crate::usage::SystemWatch;

/// Whether anybody wants to know what a build uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageWanted {
    Yes,
    No,
}

impl UsageWanted {
    /// Records of builds always say it.
    pub(crate) fn by(engine: &Engine, options: Option<&ProvenanceOptions>) -> Self {
        let is_asked_for = options.is_some_and(|options| options.capture_usage);
        match is_asked_for || engine.history().wants_provenance() {
            true => Self::Yes,
            false => Self::No,
        }
    }
}

/// One run of a build: all its predicates agree on this.
#[derive(Debug)]
pub(crate) struct Invocation {
    id: String,
    started: Timestamp,
    finished: OnceLock<Timestamp>,
    compatibility: Compatibility,
    /// Whoever wants to know what the machine did.
    system: Option<SystemWatch>,
}

impl Invocation {
    /// A build that begins now.
    pub(crate) fn begin(compatibility: Compatibility, usage: UsageWanted) -> Arc<Self> {
        Arc::new(Self {
            id: SessionId::random().to_string(),
            started: Timestamp::now(),
            finished: OnceLock::new(),
            compatibility,
            system: (usage == UsageWanted::Yes).then(SystemWatch::start),
        })
    }

    /// When the results were there. The first call decides.
    fn finished(&self) -> Timestamp {
        *self.finished.get_or_init(Timestamp::now)
    }
}

/// Provenance of each result, to be exported with it.
pub(crate) fn attest(
    engine: &Engine,
    invocation: &Arc<Invocation>,
    options: &ProvenanceOptions,
    built: &[BuiltPlatform],
) -> Result<Vec<Attestation>, BuildError> {
    let findings = Finding::all(engine, invocation, options, built).into_iter();
    let attestations = findings.map(|finding| {
        if options.complete_materials && !finding.capture.is_complete() {
            return Err(incomplete(&finding.capture));
        }
        Ok(finding.into_attestation())
    });
    attestations.collect()
}

/// Provenance of each result as build records keep it, whatever is `asked` for. Records do without what cannot be
/// had.
pub(crate) async fn for_history(
    engine: &Engine,
    invocation: &Arc<Invocation>,
    asked: Option<&ProvenanceOptions>,
    built: &Built,
) -> Vec<Provenance> {
    if !engine.history().wants_provenance() {
        return Vec::new();
    }
    let options = ProvenanceOptions::for_history(asked);
    let mut records = Vec::with_capacity(built.platforms.len());
    let findings = Finding::all(engine, invocation, &options, &built.platforms);
    for (finding, of) in findings.into_iter().zip(&built.platforms) {
        let is_one_of_several = built.shape == Shape::Index;
        match finding.predicate().await {
            Ok(predicate) => records.push(Provenance {
                platform: is_one_of_several.then(|| kiln_llb::platform::format(&of.platform)),
                predicate_type: options.version.predicate_type(),
                predicate,
            }),
            Err(error) => tracing::warn!(%error, "a build record has no provenance"),
        }
    }
    records
}

/// What is known of one result.
struct Finding {
    engine: Engine,
    invocation: Arc<Invocation>,
    options: ProvenanceOptions,
    capture: Capture,
    trace: Option<Arc<Trace>>,
    solved: Option<Solved<Output>>,
}

impl Finding {
    fn all(
        engine: &Engine,
        invocation: &Arc<Invocation>,
        options: &ProvenanceOptions,
        built: &[BuiltPlatform],
    ) -> Vec<Self> {
        let captures = capture::all(built).into_iter();
        let findings = built.iter().zip(captures).map(|(it, capture)| Self {
            engine: engine.clone(),
            invocation: invocation.clone(),
            options: options.clone(),
            capture,
            trace: it.solution.origin.trace.clone(),
            solved: it.solution.solved.clone(),
        });
        findings.collect()
    }

    fn into_attestation(self) -> Attestation {
        let inline_only = self.options.inline_only.to_string();
        let metadata = [
            (REASON.to_owned(), Bytes::from_static(b"provenance")),
            (INLINE_ONLY.to_owned(), inline_only.into()),
        ];
        let (path, predicate_type) = (
            self.options.filename.clone(),
            self.options.version.predicate_type().to_owned(),
        );
        let finding = Arc::new(self);
        Attestation {
            kind: AttestationKind::InToto,
            path,
            content: AttestationContent::Predicate(Arc::new(move || {
                let finding = finding.clone();
                async move { finding.predicate().await.map_err(PredicateError::from) }.boxed()
            })),
            predicate_type,
            subjects: Vec::new(),
            metadata: BTreeMap::from(metadata),
        }
    }

    async fn predicate(&self) -> Result<Bytes, BuildError> {
        let finished = self.invocation.finished();
        let is_max = self.options.mode == Mode::Max;
        let steps = self.trace.as_deref().filter(|_| is_max).map(Steps::new);
        let layers = match (&steps, &self.solved) {
            (Some(steps), Some(solved)) => {
                layers::find(&self.engine.worker.store, solved, &steps.numbers).await?
            }
            _ => BTreeMap::new(),
        };
        let says_usage = self.options.capture_usage;
        let (mut config, mut source) = (None, None);
        if let Some(mut steps) = steps {
            if let Some(trace) = self.trace.as_deref().filter(|_| says_usage) {
                steps.config.add_usage(trace, &steps.numbers);
            }
            (config, source) = (Some(steps.config), steps.source);
        }
        let system = self.invocation.system.as_ref().filter(|_| says_usage);
        let facts = Facts {
            capture: &self.capture,
            options: &self.options,
            invocation: self.invocation.id.clone(),
            compatibility: self.invocation.compatibility,
            started: self.invocation.started,
            finished,
            platform: kiln_llb::platform::format(&self.engine.worker.platform),
            environment: &self.engine.worker.provenance,
            config,
            source,
            layers,
            system: system.map_or_else(Vec::new, SystemWatch::samples),
        };
        Ok(facts.into_predicate())
    }
}

/// The error for a build that must know all that went into it, in BuildKit's words.
fn incomplete(capture: &Capture) -> BuildError {
    let mut message = String::from(
        "provenance materials are incomplete\n\nThe build requested complete provenance materials, \
         but not all dependencies could be captured.",
    );
    if !capture.locals.is_empty() {
        message.push_str("\n\nUncaptured local sources:");
    }
    for name in &capture.locals {
        message.push_str(&format!("\n  - {name}\n    reason: local_source"));
    }
    if !capture.uncertain.is_empty() {
        message.push_str("\n\nUncaptured requests:");
    }
    for it in &capture.uncertain {
        message.push_str(&format!("\n  - {}", it.name));
        let details = [
            ("method", it.method.as_str()),
            ("url", &it.uri),
            ("reason", it.reason),
        ];
        for (what, text) in details.iter().filter(|(_, text)| !text.is_empty()) {
            message.push_str(&format!("\n    {what}: {text}"));
        }
    }
    BuildError::new(Kind::Input, message)
        .hint("leave complete-materials out, or build from sources with a digest")
}
