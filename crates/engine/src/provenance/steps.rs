//! The steps of a build, with the source lines they came from.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_llb::json::{OrderedJson, go_locations, go_op};
use kiln_llb::pb::{self, op};
use kiln_llb::redact;
use kiln_llb::{Definition, Edge, Graph, Vertex, digest_of};
use oci_spec::image::Digest;
use serde::Serialize;

use super::ledger::Trace;
use crate::usage::StepUsage;

/// Attributes of sources that only concern one build.
const OF_THE_SESSION: [&str; 2] = ["local.session", "local.unique"];

/// Numbers of steps by digest.
pub(super) type Numbers = HashMap<Digest, usize>;

/// A definition as steps that refer to each other by number.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildConfig {
    #[serde(rename = "llbDefinition", skip_serializing_if = "Vec::is_empty")]
    definition: Vec<Step>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest_mapping: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    id: String,
    op: OrderedJson,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_usage: Option<StepUsage>,
}

impl BuildConfig {
    /// Adds what steps used, as far as that is known.
    pub(super) fn add_usage(&mut self, trace: &Trace, numbers: &Numbers) {
        for (vertex, op) in &trace.vertices {
            let step = numbers.get(&vertex.digest);
            if let Some(step) = step.and_then(|number| self.definition.get_mut(*number)) {
                step.resource_usage = op.usage();
            }
        }
    }
}

/// Source files and the places in them that steps came from.
#[derive(Debug, Serialize)]
pub(super) struct SourceMap {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    locations: BTreeMap<String, OrderedJson>,
    infos: Vec<SourceFile>,
}

#[derive(Debug, Serialize)]
struct SourceFile {
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    language: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(flatten)]
    config: BuildConfig,
}

/// What is known of how a result was built.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) config: BuildConfig,
    pub(super) numbers: Numbers,
    pub(super) source: Option<SourceMap>,
}

/// The name of a step.
pub(super) fn name(number: usize) -> String {
    format!("step{number}")
}

impl Steps {
    pub(super) fn new(trace: &Trace) -> Self {
        let vertices = trace.vertices.iter().map(|(vertex, _)| vertex);
        let (config, numbers) = build_config(vertices, &trace.root, trace.terminal.as_ref());
        let source = trace.source.as_ref();
        let source = source.filter(|source| !source.infos.is_empty());
        Self {
            source: source.map(|source| source_map(source, &numbers)),
            config,
            numbers,
        }
    }
}

fn build_config<'a>(
    vertices: impl Iterator<Item = &'a Vertex>,
    root: &Edge,
    terminal: Option<&Digest>,
) -> (BuildConfig, Numbers) {
    let mut numbers = Numbers::new();
    let mut definition = Vec::new();
    let reference = |numbers: &Numbers, edge: &Edge| {
        let number = numbers.get(&edge.vertex).copied().unwrap_or_default();
        format!("{}:{}", name(number), edge.output)
    };
    for (number, vertex) in vertices.enumerate() {
        let inputs = vertex.inputs.iter().map(|edge| reference(&numbers, edge));
        definition.push(Step {
            id: name(number),
            op: op_value(&vertex.op),
            inputs: inputs.collect(),
            resource_usage: None,
        });
        numbers.insert(vertex.digest.clone(), number);
    }
    if let Some(terminal) = terminal {
        let number = definition.len();
        definition.push(Step {
            id: name(number),
            op: op_value(&pb::Op::default()),
            inputs: vec![reference(&numbers, root)],
            resource_usage: None,
        });
        numbers.insert(terminal.clone(), number);
    }
    let names = numbers.iter();
    let digest_mapping = names.map(|(digest, number)| (digest.to_string(), name(*number)));
    let config = BuildConfig {
        definition,
        digest_mapping: digest_mapping.collect(),
    };
    (config, numbers)
}

/// An op without its inputs, which have names here, without credentials, and without what differs between equal builds.
fn op_value(op: &pb::Op) -> OrderedJson {
    let mut op = op.clone();
    op.inputs.clear();
    if let Some(op::Op::Source(source)) = &mut op.op {
        for attribute in OF_THE_SESSION {
            source.attrs.remove(attribute);
        }
        source.identifier = redact::credentials(&source.identifier);
    }
    go_op(&op)
}

fn source_map(source: &pb::Source, numbers: &Numbers) -> SourceMap {
    let locations = source.locations.iter().filter_map(|(digest, locations)| {
        let number = numbers.get(&digest.parse::<Digest>().ok()?)?;
        Some((name(*number), go_locations(locations)))
    });
    SourceMap {
        locations: locations.collect(),
        infos: source.infos.iter().map(source_file).collect(),
    }
}

fn source_file(info: &pb::SourceInfo) -> SourceFile {
    let config = info.definition.clone().and_then(|definition| {
        let definition = Definition::from(definition);
        let graph = Graph::load(&definition).ok()?;
        let terminal = definition.ops.last().map(digest_of);
        let root = graph.root?;
        Some(build_config(graph.vertices.iter(), &root, terminal.as_ref()).0)
    });
    SourceFile {
        filename: info.filename.clone(),
        language: info.language.clone(),
        data: STANDARD.encode(&info.data),
        config: config.unwrap_or_default(),
    }
}
