//! LLB to a solver graph: checks a definition and binds its ops to the worker.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_llb::pb::{NetMode, SecurityMode, op};
use kiln_llb::{Definition, Graph};
use kiln_solver::{Edge, VertexOptions};

use crate::bridge::Bridge;
use crate::devices;
use crate::entitlement::Entitlement;
use crate::error::{BuildError, Kind};
use crate::ops::EngineOp;
use crate::vertex_name;

/// A definition ready to be solved.
pub(crate) struct Loaded {
    /// The graph for the solver.
    pub(crate) graph: kiln_solver::Graph<EngineOp>,
    /// The edge to solve.
    pub(crate) edge: Edge,
    /// The vertices as the client sent them, with the ops made of them.
    pub(crate) vertices: Vec<(kiln_llb::Vertex, Arc<EngineOp>)>,
    /// The result among them.
    pub(crate) root: kiln_llb::Edge,
}

/// What is said of a definition that cannot be loaded.
pub(crate) fn not_loaded(error: BuildError) -> BuildError {
    error.context("failed to load LLB")
}

/// Loads a definition; `None` is an empty one, whose result is an empty tree.
pub(crate) async fn load(
    bridge: &Bridge,
    definition: &Definition,
) -> Result<Option<Loaded>, BuildError> {
    let (worker, entitlements) = (&bridge.engine.worker, &bridge.entitlements);
    let realm = bridge.surroundings.realm();
    let wrong = |error| not_loaded(BuildError::wrap(Kind::Input, error));
    let graph = Graph::load(definition).map_err(wrong)?;
    let devices = match devices::asks_for_judgement(&graph, entitlements) {
        true => Some(worker.devices().await.map_err(not_loaded)?),
        false => None,
    };
    let Some(root) = graph.root else {
        return Ok(None);
    };
    let names = vertex_name::names(&graph.vertices);
    let mut vertices = Vec::with_capacity(graph.vertices.len());
    let mut loaded = Vec::with_capacity(graph.vertices.len());
    for vertex in graph.vertices {
        check_entitlements(&vertex, entitlements).map_err(not_loaded)?;
        let constraints = vertex.op.constraints.as_ref();
        let filter = constraints.map_or(&[][..], |it| &it.filter);
        let allowed = bridge.engine.worker_info.check(filter);
        allowed.map_err(not_loaded)?;
        let name = names.get(&vertex.digest).cloned().unwrap_or_default();
        let bound = match &devices {
            Some(devices) => devices.bind(&vertex, entitlements).map_err(not_loaded)?,
            None => Cow::Borrowed(&vertex),
        };
        let op = EngineOp::new(worker, &bound, &name, bridge.surroundings);
        let op = Arc::new(op.map_err(|error| match &vertex.op.op {
            // BuildKit reads what a source is only once it looks for its key.
            Some(op::Op::Source(_)) => error.context("failed to load cache key"),
            _ => not_loaded(error),
        })?);
        drop(bound);
        vertices.push(kiln_solver::Vertex {
            digest: vertex.digest.clone(),
            op: op.clone(),
            inputs: vertex.inputs.iter().map(edge).collect(),
            name,
            options: VertexOptions {
                ignore_cache: vertex.metadata.ignore_cache,
                export_cache: vertex
                    .metadata
                    .export_cache
                    .as_ref()
                    .map(|export| export.value),
                realm,
            },
        });
        loaded.push((vertex, op));
    }
    let solver_graph = kiln_solver::Graph::new(vertices);
    let solver_graph =
        solver_graph.map_err(|error| not_loaded(BuildError::wrap(Kind::Input, error)))?;
    Ok(Some(Loaded {
        graph: solver_graph,
        edge: edge(&root),
        vertices: loaded,
        root,
    }))
}

fn edge(edge: &kiln_llb::Edge) -> Edge {
    Edge {
        vertex: edge.vertex.clone(),
        output: edge.output,
    }
}

fn check_entitlements(
    vertex: &kiln_llb::Vertex,
    granted: &BTreeSet<Entitlement>,
) -> Result<(), BuildError> {
    match &vertex.op.op {
        Some(op::Op::Exec(exec)) => check_privileges(exec.network, exec.security, granted),
        _ => Ok(()),
    }
}

/// Privileged processes need the user's word, in BuildKit's wording.
pub(crate) fn check_privileges(
    network: i32,
    security: i32,
    granted: &BTreeSet<Entitlement>,
) -> Result<(), BuildError> {
    let needed = [
        (network == NetMode::Host as i32, Entitlement::NetworkHost),
        (
            security == SecurityMode::Insecure as i32,
            Entitlement::SecurityInsecure,
        ),
    ];
    for (needs, entitlement) in needed {
        if needs && !granted.contains(&entitlement) {
            let name = entitlement.name();
            let error = BuildError::new(Kind::Input, format!("{name} is not allowed"));
            return Err(error.hint(format!(
                "allow it with --allow {name} if you trust this build"
            )));
        }
    }
    Ok(())
}
