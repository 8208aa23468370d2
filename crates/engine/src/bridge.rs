//! The one door through which frontends reach the engine.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use kiln_exporter::PackageKind;
use kiln_llb::{Definition, pb};
use kiln_registry::Reference;
use kiln_session::Session;
use kiln_session::progress::ProgressSink;
use kiln_solver::{Cache, Job, JobId, SolveError, Solved, VertexFailure};
use kiln_source::{ImageIdentifier, LayoutIdentifier, ResolvedImage};
use kiln_store::lease::Lease;
use oci_spec::image::{Digest, Platform};
use prost::Message as _;

use crate::cache_transfer::{BuildMounts, Imports};
use crate::engine::{Engine, blocking};
use crate::entitlement::Entitlement;
use crate::error::{BuildError, Detail, FailedStep, Kind, Location};
use crate::explain::FactBook;
use crate::jobs::Registration;
use crate::load::{self, Loaded};
use crate::lost::Losses;
use crate::observe::JobObserver;
use crate::ops::source::{lent_layout, source_error};
use crate::ops::{EngineOp, Output};
use crate::provenance::{FrontendRequest, ImageSource, Ledger, Origin, Trace};
use crate::request::CacheEntry;
use crate::source_policy::SourcePolicies;
use crate::step::Step;
use crate::surroundings::Surroundings;
use crate::tree;

/// One frontend's access to the engine.
#[derive(Clone)]
pub(crate) struct Bridge {
    pub(crate) engine: Engine,
    pub(crate) job: Arc<Job<EngineOp>>,
    pub(crate) observer: Arc<JobObserver>,
    pub(crate) session: Session,
    pub(crate) progress: ProgressSink,
    pub(crate) entitlements: BTreeSet<Entitlement>,
    /// Which sources may be used.
    pub(crate) policies: SourcePolicies,
    /// What steps are done in.
    pub(crate) surroundings: Surroundings,
    /// Caches that all solves may use, read when the first one begins.
    pub(crate) cache_imports: Vec<CacheEntry>,
    /// Caches that were read for this build.
    pub(crate) imports: Arc<Imports>,
    /// What the frontend behind this did.
    pub(crate) ledger: Arc<Ledger>,
}

/// The parts of a request that say what its frontend may use.
pub(crate) struct Opening<'a> {
    pub(crate) id: &'a str,
    pub(crate) session: Session,
    pub(crate) progress: ProgressSink,
    pub(crate) entitlements: BTreeSet<Entitlement>,
    pub(crate) policies: SourcePolicies,
    pub(crate) surroundings: Surroundings,
    pub(crate) cache_imports: Vec<CacheEntry>,
    /// Who uses it, and for what.
    pub(crate) request: FrontendRequest,
}

/// A way to the engine. The build goes on for as long as this lives.
pub(crate) struct OpenBridge {
    pub(crate) bridge: Arc<Bridge>,
    _client: Registration,
    _lease: Lease,
}

impl Opening<'_> {
    /// Opens the way for the frontend of a build that begins.
    pub(crate) fn bridge(
        self,
        engine: &Engine,
        facts: &Arc<FactBook>,
    ) -> Result<OpenBridge, BuildError> {
        let worker = &engine.worker;
        let id = JobId::new(self.id);
        let (session, progress) = (self.session, self.progress);
        let client =
            worker
                .jobs
                .register(id.clone(), session.clone(), progress.clone(), facts.clone());
        let mounts = worker.jobs.mounts(&id);
        let observer = JobObserver::new(progress.clone(), facts.clone());
        let job = engine.solver.job(id, observer.clone());
        let job = job.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let bridge = Arc::new(Bridge {
            engine: engine.clone(),
            job: Arc::new(job),
            observer,
            session,
            progress,
            entitlements: self.entitlements,
            policies: self.policies,
            surroundings: self.surroundings,
            cache_imports: self.cache_imports,
            imports: Arc::new(Imports::new(facts.clone(), mounts)),
            ledger: Ledger::new(self.request),
        });
        let builder: Weak<Bridge> = Arc::downgrade(&bridge);
        worker.jobs.lend(bridge.job.id(), builder);
        Ok(OpenBridge {
            bridge,
            _client: client,
            _lease: worker.store.lease().map_err(tree::store_error)?,
        })
    }
}

/// What a definition came to.
#[derive(Clone)]
pub(crate) struct Solution {
    /// The tree, `None` for an empty one.
    pub(crate) output: Output,
    /// How it came to be, for cache exports; `None` for an empty definition.
    pub(crate) solved: Option<Solved<Output>>,
    /// Who asked for it, for provenance.
    pub(crate) origin: Origin,
}

impl Bridge {
    /// The same door for another frontend that is called in this build.
    pub(crate) fn child(&self, request: FrontendRequest) -> Arc<Self> {
        Arc::new(Self {
            ledger: self.ledger.child(request),
            ..self.clone()
        })
    }

    /// What an empty definition comes to.
    pub(crate) fn empty(&self) -> Solution {
        Solution {
            output: None,
            solved: None,
            origin: Origin {
                ledger: self.ledger.clone(),
                trace: None,
            },
        }
    }

    /// Computes what a definition describes.
    pub(crate) async fn solve(&self, definition: &Definition) -> Result<Solution, BuildError> {
        self.solve_with(definition, &[]).await
    }

    /// The same with further caches to look into. What caches turn out to lack is built.
    pub(crate) async fn solve_with(
        &self,
        definition: &Definition,
        caches: &[Cache<Output>],
    ) -> Result<Solution, BuildError> {
        let mut losses = Losses::default();
        loop {
            match self.solve_once(definition, caches).await {
                Err(error) if losses.explain(self, &error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn solve_once(
        &self,
        definition: &Definition,
        caches: &[Cache<Output>],
    ) -> Result<Solution, BuildError> {
        let governed = self.govern(definition).await;
        let definition = &*governed.map_err(load::not_loaded)?;
        let loaded = load::load(self, definition).await?;
        let Some(Loaded {
            graph,
            edge,
            vertices,
            root,
        }) = loaded
        else {
            return Ok(self.empty());
        };
        self.observer
            .learn_groups(vertices.iter().map(|(vertex, _)| vertex));
        let loaded = vertices.iter().map(|(vertex, _)| vertex);
        self.mounts().note(loaded);
        let mut all = self.import(&self.cache_imports).await?;
        let further = caches
            .iter()
            .filter(|cache| all.iter().all(|it| it.id != cache.id));
        all.extend(further.cloned().collect::<Vec<_>>());
        let trace = Trace::new(definition, root, vertices);
        self.observer.facts.learn(trace.clone());
        match self.job.solve(graph, edge, all).await {
            Ok(solved) => {
                self.ledger.solved(trace.clone());
                Ok(Solution {
                    output: solved.output.clone(),
                    solved: Some(solved),
                    origin: Origin {
                        ledger: self.ledger.clone(),
                        trace: Some(trace),
                    },
                })
            }
            Err(error) => Err(solve_error(error, definition)),
        }
    }

    /// Reads caches that a frontend names.
    pub(crate) async fn import(
        &self,
        entries: &[CacheEntry],
    ) -> Result<Vec<Cache<Output>>, BuildError> {
        let imports = &self.imports;
        imports
            .get(&self.engine, &self.session, &self.progress, entries)
            .await
    }

    /// The cache mounts of this build.
    pub(crate) fn mounts(&self) -> Arc<BuildMounts> {
        self.engine.worker.jobs.mounts(self.job.id())
    }

    /// Reads a file of a result: `None` if there is none, at most `limit`
    /// bytes of it if that is given.
    pub(crate) async fn read_file(
        &self,
        output: &Output,
        path: &str,
        limit: Option<usize>,
    ) -> Result<Option<Bytes>, BuildError> {
        let Some(reference) = output.clone() else {
            return Ok(None);
        };
        reference.materialize().await.map_err(tree::store_error)?;
        let (worker, path) = (self.engine.worker.clone(), path.to_owned());
        blocking(move || {
            let tree = tree::open(&worker.store, Some(&reference))?;
            tree::read_file(&tree.root, &path, limit)
        })
        .await
    }

    /// Finds an image's digest and config, shown as a step called `name`.
    pub(crate) async fn image_config(
        &self,
        identifier: &ImageIdentifier,
        name: &str,
    ) -> Result<ResolvedImage, BuildError> {
        let step = Step::start(&self.progress, name);
        let images = &self.engine.worker.sources.images;
        let resolved = images.resolve_config(identifier, &self.session).await;
        if let Ok(image) = &resolved {
            self.looked_up(
                &identifier.reference,
                &identifier.platform,
                (image, PackageKind::Docker),
            );
        }
        step.finish(resolved.map_err(source_error))
    }

    /// The same in an OCI layout of the client.
    pub(crate) async fn layout_config(
        &self,
        identifier: &LayoutIdentifier,
        name: &str,
    ) -> Result<ResolvedImage, BuildError> {
        let step = Step::start(&self.progress, name);
        let resolved = async {
            let layout = lent_layout(&self.session, &identifier.store_id).await?;
            let layouts = &self.engine.worker.sources.layouts;
            layouts
                .resolve_config(identifier, &layout)
                .await
                .map_err(source_error)
        };
        let resolved = resolved.await;
        if let Ok(image) = &resolved {
            self.looked_up(
                &identifier.reference,
                &identifier.platform,
                (image, PackageKind::Oci),
            );
        }
        step.finish(resolved)
    }

    fn looked_up(
        &self,
        reference: &Reference,
        platform: &Platform,
        (image, kind): (&ResolvedImage, PackageKind),
    ) {
        let facts = &self.observer.facts;
        facts.image(reference.to_string(), image.config.clone());
        self.ledger.looked_up(ImageSource {
            reference: reference.clone(),
            platform: Some(platform.clone()),
            digest: image.digest.clone(),
            kind,
        });
    }
}

pub(crate) fn solve_error(error: SolveError<BuildError>, definition: &Definition) -> BuildError {
    match error {
        SolveError::Vertex(failure) => vertex_error(&failure, definition),
        SolveError::Cancelled => BuildError::new(Kind::Cancelled, "context canceled"),
        error @ SolveError::BadCacheMap { .. } => BuildError::wrap(Kind::Internal, error),
        error => BuildError::wrap(Kind::Input, error),
    }
}

/// A failed step, with the places in source files that it came from.
fn vertex_error(failure: &VertexFailure<BuildError>, definition: &Definition) -> BuildError {
    let mut error = BuildError::clone(&failure.error);
    error.vertex = Some(failure.name.to_string());
    error.locations = nearest_locations(definition, &failure.vertex);
    let debris = error.details.iter().find_map(|detail| match detail {
        Detail::Step(step) => Some(FailedStep::clone(step)),
        _ => None,
    });
    error.details.retain(|it| !matches!(it, Detail::Step(_)));
    let mut ops = definition.digests();
    let op = ops.find_map(|(digest, op)| (digest == failure.vertex).then(|| op.clone()));
    let metadata = definition.metadata.get(failure.vertex.as_ref());
    let step = FailedStep {
        op: op.unwrap_or_default(),
        description: metadata.map_or_else(Default::default, |it| it.description.clone()),
        ..debris.unwrap_or_default()
    };
    error
        .detail(Detail::Vertex(failure.vertex.to_string()))
        .detail(Detail::Step(Arc::new(step)))
}

/// The places that a vertex came from, or else those of a vertex that uses it: downloads have none of their own.
fn nearest_locations(definition: &Definition, vertex: &Digest) -> Vec<Location> {
    let own = locations(definition, vertex.as_ref());
    if !own.is_empty() {
        return own;
    }
    let uses = |op: &Bytes| {
        let op = kiln_llb::pb::Op::decode(op.clone()).unwrap_or_default();
        op.inputs
            .iter()
            .any(|input| input.digest == vertex.as_ref())
    };
    let users = definition.digests().filter(|(_, op)| uses(op));
    let places = users.map(|(user, _)| locations(definition, user.as_ref()));
    places
        .into_iter()
        .find(|places| !places.is_empty())
        .unwrap_or_default()
}

fn locations(definition: &Definition, digest: &str) -> Vec<Location> {
    let Some(source) = &definition.source else {
        return Vec::new();
    };
    let locations = source
        .locations
        .get(digest)
        .map_or(&[][..], |it| it.locations.as_slice());
    let found = locations.iter().filter_map(|location| {
        let info = source
            .infos
            .get(usize::try_from(location.source_index).ok()?)?;
        Some(Location::new(info, &location.ranges))
    });
    found.collect()
}

impl Location {
    pub(crate) fn new(info: &pb::SourceInfo, ranges: &[pb::Range]) -> Self {
        use kiln_session::progress::{Position, Range, SourceFile};
        let position = |position: &Option<pb::Position>| {
            let position = position.unwrap_or_default();
            Position {
                line: position.line,
                character: position.character,
            }
        };
        Self {
            file: SourceFile {
                filename: info.filename.clone(),
                data: info.data.to_vec(),
                language: info.language.clone(),
            },
            ranges: ranges
                .iter()
                .map(|range| Range {
                    start: position(&range.start),
                    end: position(&range.end),
                })
                .collect(),
        }
    }
}
