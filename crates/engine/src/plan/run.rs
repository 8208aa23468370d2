//! The path of a plan, from request to document.

use std::collections::HashMap;
use std::sync::Arc;

use kiln_frontend::{Outcome, Request};
use kiln_llb::Definition;
use kiln_solver::{Cache, Edge, Graph, Job, JobId, Solver, SolverOptions, Vertex};
use oci_spec::image::Digest;

use super::describe::{Root, describe};
use super::document::Plan;
use super::door::PlanDoor;
use super::op::{Planned, PlannedOp};
use super::sheet::Sheet;
use super::{caches, exports};
use crate::bridge::{Bridge, Opening, solve_error};
use crate::cache_transfer;
use crate::engine::{Engine, blocking};
use crate::error::{BuildError, Kind};
use crate::explain::{self, FactBook, StepKind};
use crate::export;
use crate::frontend::{self, Call};
use crate::load::{self, Loaded};
use crate::ops::EngineOp;
use crate::provenance;
use crate::request::{BuildRequest, CacheEntry, Frontend};
use crate::source_policy::SourcePolicies;

/// Plans a build. What is wrong with the request is found as it is by a build.
pub(crate) async fn run(engine: &Engine, request: BuildRequest) -> Result<Plan, BuildError> {
    provenance::parse_options(&request.options)?;
    let policies = SourcePolicies::of(&request)?;
    let surroundings = request.surroundings();
    let kinds: Vec<_> = request.exports.iter().map(|it| it.kind.clone()).collect();
    let exports = export::parse(request.exports, engine.unknown_keys)?;
    let cache_exports = cache_transfer::parse_exports(&request.cache_exports, &engine.stores)?;
    cache_transfer::parse_imports(&request.cache_imports, &engine.stores)?;
    let call = Call {
        frontend: request.frontend,
        options: request.options,
        inputs: request.frontend_inputs,
    };
    let call = call.simplified();
    let facts = Arc::new(FactBook::default());
    if frontend::sbom_options(&call.options)?.is_some() {
        let error = BuildError::new(
            Kind::Input,
            "a plan does not tell of scans for SBOMs (attest:sbom)",
        );
        return Err(error
            .hint("leave out attest:sbom (--sbom); a scan runs after all that the plan tells of"));
    }
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
    let open = opening.bridge(engine, &facts)?;
    let planner = Planner::new(&open.bridge, &request.id, &facts)?;
    let roots = planner.roots(call).await?;
    if let Some(certainty) = exports::need(&exports) {
        roots
            .iter()
            .for_each(|root| planner.sheet.needs(&root.edge.vertex, certainty));
    }
    let (bridge, sheet) = (open.bridge.clone(), planner.sheet.clone());
    blocking(move || {
        let mut plan = describe(&bridge, &sheet.notes(), &roots)?;
        plan.outputs = exports::outputs(kinds, &exports);
        for root in &roots {
            exports::add_layers(&mut plan.outputs, &exports, root.layers(&bridge)?.as_ref());
        }
        let kinds = request.cache_exports.into_iter().map(|entry| entry.kind);
        plan.cache_exports = exports::cache_exports(kinds, &cache_exports);
        Ok(plan)
    })
    .await
}

/// What plans are made with.
struct Planner<'a> {
    bridge: &'a Bridge,
    job: Job<PlannedOp>,
    sheet: Arc<Sheet>,
}

impl<'a> Planner<'a> {
    fn new(bridge: &'a Bridge, id: &str, facts: &Arc<FactBook>) -> Result<Self, BuildError> {
        let engine = &bridge.engine;
        let cache = caches::local(engine.solver.cache(), &engine.worker.store);
        let solver = Solver::new(cache, SolverOptions::default());
        let sheet = Sheet::new(&bridge.progress, facts);
        // The name of the build, by which ops find its client.
        let job = solver.job(JobId::new(id), sheet.clone());
        Ok(Self {
            bridge,
            job: job.map_err(|error| BuildError::wrap(Kind::Input, error))?,
            sheet,
        })
    }

    /// What the results of a frontend would come to.
    async fn roots(&self, call: Call) -> Result<Vec<Root>, BuildError> {
        let Lowered {
            definitions,
            cache_imports,
        } = lowered(self.bridge, call).await?;
        let mut all = self.bridge.import(&self.bridge.cache_imports).await?;
        for cache in self.bridge.import(&cache_imports).await? {
            if all.iter().all(|it| it.id != cache.id) {
                all.push(cache);
            }
        }
        let all: Vec<Cache<Planned>> = all.iter().map(caches::imported).collect();
        let mut roots = Vec::with_capacity(definitions.len());
        for definition in &definitions {
            roots.extend(self.root(definition, &all).await?);
        }
        Ok(roots)
    }

    async fn root(
        &self,
        definition: &Definition,
        caches: &[Cache<Planned>],
    ) -> Result<Option<Root>, BuildError> {
        let bridge = self.bridge;
        let definition = &*bridge.govern(definition).await?;
        let loaded = load::load(bridge, definition).await?;
        let Some(Loaded {
            graph,
            edge,
            vertices,
            ..
        }) = loaded
        else {
            return Ok(None);
        };
        let kinds: HashMap<&Digest, StepKind> = vertices
            .iter()
            .map(|(vertex, _)| (&vertex.digest, explain::kind(&vertex.op)))
            .collect();
        let graph = self.planned(&graph, &edge, &kinds)?;
        let solved = self.job.solve(graph, edge.clone(), caches.to_vec()).await;
        let output = solved
            .map_err(|error| solve_error(error, definition))?
            .output;
        self.sheet.found(&edge.vertex, &output);
        Ok(Some(Root {
            vertices,
            edge,
            output,
        }))
    }

    /// The same graph of ops that run nothing.
    fn planned(
        &self,
        graph: &Graph<EngineOp>,
        root: &Edge,
        kinds: &HashMap<&Digest, StepKind>,
    ) -> Result<Graph<PlannedOp>, BuildError> {
        let mut outputs: HashMap<&Digest, usize> = HashMap::new();
        let used = graph.vertices().iter().flat_map(|vertex| &vertex.inputs);
        for edge in used.chain([root]) {
            let count = outputs.entry(&edge.vertex).or_default();
            *count = (*count).max(edge.output + 1);
        }
        let vertices = graph.vertices().iter().map(|vertex| {
            let kind = kinds.get(&vertex.digest).copied();
            let outputs = outputs.get(&vertex.digest).copied().unwrap_or_default();
            let kind = kind.unwrap_or(StepKind::Other);
            Vertex {
                digest: vertex.digest.clone(),
                op: Arc::new(PlannedOp::new(vertex, kind, outputs, &self.sheet)),
                inputs: vertex.inputs.clone(),
                name: vertex.name.clone(),
                options: vertex.options.clone(),
            }
        });
        let graph = Graph::new(vertices.collect());
        graph.map_err(|error| BuildError::wrap(Kind::Input, error))
    }
}

/// What a frontend comes to: a definition for each platform, and caches to look into.
struct Lowered {
    definitions: Vec<Definition>,
    cache_imports: Vec<CacheEntry>,
}

async fn lowered(bridge: &Bridge, call: Call) -> Result<Lowered, BuildError> {
    frontend::check_available(bridge, &call.frontend)?;
    match call.frontend {
        Frontend::Definition(definition) => Ok(Lowered {
            definitions: vec![definition],
            cache_imports: Vec::new(),
        }),
        Frontend::Dockerfile => {
            let request = Request {
                attributes: call.options,
                inputs: call.inputs,
                session: bridge.session.id.as_str().to_owned(),
                ..Request::default()
            };
            match kiln_frontend::run(&PlanDoor(bridge), &request).await? {
                Outcome::Build(build) => {
                    let lowered = build.targets.into_iter().map(|target| target.lowered);
                    let imports = build.cache_imports.into_iter();
                    Ok(Lowered {
                        definitions: lowered.map(|lowered| lowered.definition).collect(),
                        cache_imports: imports.map(CacheEntry::from).collect(),
                    })
                }
                Outcome::Forward { wanted, .. } => Err(foreign(&wanted.image)),
                Outcome::Answer(_) => Err(BuildError::new(
                    Kind::Input,
                    "a question to the frontend (requestid) runs no steps: leave out --dry-run",
                )),
            }
        }
        Frontend::Gateway => {
            let source = call.options.get("source").map(String::as_str);
            Err(foreign(source.unwrap_or_default()))
        }
        Frontend::Client => Err(BuildError::new(
            Kind::Input,
            "a build that its client drives cannot be planned",
        )),
    }
}

/// Other frontends are programs, which would have to run.
fn foreign(image: &str) -> BuildError {
    let message = format!(
        "a plan runs nothing, and frontend {image} would have to run to say what the steps are"
    );
    BuildError::new(Kind::Input, message)
        .hint("use the built-in one: leave out the # syntax line, or give --opt build-arg:BUILDKIT_SYNTAX=dockerfile.v0")
}
