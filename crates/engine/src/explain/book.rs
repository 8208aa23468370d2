//! What is noted of a build while it runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kiln_llb::Vertex;
use kiln_solver::{Progress, VertexEvent};
use kiln_store::Ref;
use oci_spec::image::Digest;
use serde::Deserialize;

use super::facts::{
    BuildFacts, CacheUse, ContentFacts, ImageFacts, ImportFacts, Outcome, StepFacts,
};
use super::{summary, words};
use crate::checksums::Selector;
use crate::ops::EngineOp;
use crate::provenance::{Material, Trace};
use crate::request::Attributes;

/// Steps of one build that are kept.
const MOST_STEPS: usize = 2000;

/// Images, directories and caches of one build that are kept.
const MOST_OTHERS: usize = 200;

/// Keys of one step that are kept; sources have a few.
const MOST_KEYS: usize = 8;

/// What is noted of a build while it runs. Taking notes costs next to nothing: it never looks into anything.
#[derive(Default)]
pub(crate) struct FactBook(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    traces: Vec<Arc<Trace>>,
    vertices: HashMap<Digest, VertexNotes>,
    places: Vec<String>,
    images: Vec<(String, Bytes)>,
    imports: Vec<ImportFacts>,
}

/// What is noted of one vertex, by the digest that observers know it by.
#[derive(Default)]
struct VertexNotes {
    /// Its digest in its definition; unknown while only its op was heard of.
    definition: Option<Digest>,
    outcome: Outcome,
    keys: Vec<Digest>,
    contents: BTreeMap<usize, ContentNote>,
}

/// What a step saw of an input.
#[derive(Clone)]
struct ContentNote {
    digest: Digest,
    tree: Option<String>,
    selectors: Vec<Selector>,
}

/// Which parts of its inputs a step looked at, by the place of the step and the number of the input.
pub(super) type Looks = HashMap<(usize, usize), Vec<Selector>>;

impl FactBook {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a definition that is going to be solved.
    pub(crate) fn learn(&self, trace: Arc<Trace>) {
        self.notes().traces.push(trace);
    }

    /// Notes what happened to a vertex.
    pub(crate) fn observe(&self, event: &VertexEvent) {
        let mut notes = self.notes();
        let vertex = notes
            .vertices
            .entry(event.vertex.digest.clone())
            .or_default();
        vertex
            .definition
            .get_or_insert_with(|| event.vertex.definition.clone());
        let outcome = &mut vertex.outcome;
        match &event.progress {
            // Sources also start to find out what they stand for.
            Progress::Started if !event.vertex.inputs.is_empty() => ran(outcome),
            Progress::Cached if *outcome == Outcome::Unneeded => *outcome = Outcome::Cached,
            Progress::CacheMissed => *outcome = Outcome::RanForLost,
            Progress::Failed(_) => *outcome = Outcome::Failed,
            Progress::Cancelled => *outcome = Outcome::Cancelled,
            _ => {}
        }
    }

    /// Notes that a vertex runs.
    pub(crate) fn runs(&self, vertex: &Digest) {
        let mut notes = self.notes();
        ran(&mut notes.vertices.entry(vertex.clone()).or_default().outcome);
    }

    /// Notes the cache map of a vertex.
    pub(crate) fn keyed(&self, vertex: &Digest, key: &Digest) {
        let mut notes = self.notes();
        let vertex = notes.vertices.entry(vertex.clone()).or_default();
        if vertex.keys.len() < MOST_KEYS && !vertex.keys.contains(key) {
            vertex.keys.push(key.clone());
        }
    }

    /// Notes what a vertex saw of an input.
    pub(crate) fn saw(
        &self,
        vertex: &Digest,
        input: usize,
        (tree, selectors): (Option<&Ref>, &[Selector]),
        digest: &Digest,
    ) {
        let note = ContentNote {
            digest: digest.clone(),
            tree: tree.map(|tree| tree.id().to_owned()),
            selectors: selectors.to_vec(),
        };
        let mut notes = self.notes();
        let vertex = notes.vertices.entry(vertex.clone()).or_default();
        vertex.contents.insert(input, note);
    }

    /// Notes where a directory of the client comes from.
    pub(crate) fn place(&self, place: &str) {
        let mut notes = self.notes();
        if notes.places.len() < MOST_OTHERS {
            notes.places.push(words::hash(place));
        }
    }

    /// Notes an image whose config the frontend read.
    pub(crate) fn image(&self, name: String, config: Bytes) {
        let mut notes = self.notes();
        if notes.images.len() < MOST_OTHERS {
            notes.images.push((name, config));
        }
    }

    /// Notes a cache that cannot be imported.
    pub(crate) fn unusable_import(&self, name: &str, reason: &str) {
        let mut notes = self.notes();
        if notes.imports.len() < MOST_OTHERS {
            notes.imports.push(ImportFacts {
                name: words::kept(name),
                reason: words::kept(reason),
            });
        }
    }

    /// All that is worth keeping, and which parts of their inputs steps looked at.
    pub(super) fn facts(&self, options: &Attributes) -> (BuildFacts, Looks) {
        let notes = self.notes();
        let mut places = notes.places.clone();
        places.sort();
        places.dedup();
        let mut facts = BuildFacts {
            options: telling(options),
            places,
            images: images(&notes.images),
            unusable_imports: notes.imports.clone(),
            ..BuildFacts::default()
        };
        let looks = notes.steps(&mut facts);
        (facts, looks)
    }
}

/// A step that runs because its result was lost still does.
fn ran(outcome: &mut Outcome) {
    if *outcome != Outcome::RanForLost {
        *outcome = Outcome::Ran;
    }
}

impl Notes {
    fn steps(&self, facts: &mut BuildFacts) -> Looks {
        let mut by_definition: HashMap<&Digest, &VertexNotes> = HashMap::new();
        for vertex in self.vertices.values() {
            let Some(definition) = &vertex.definition else {
                continue;
            };
            // The one that had to run tells more.
            let known = by_definition.entry(definition).or_insert(vertex);
            if vertex.outcome.is_miss() {
                *known = vertex;
            }
        }
        let mut places: HashMap<&Digest, usize> = HashMap::new();
        let mut looks = Looks::new();
        let mut left_out = HashSet::new();
        for (vertex, op) in self.traces.iter().flat_map(|trace| trace.steps()) {
            if places.contains_key(&vertex.digest) {
                continue;
            }
            if facts.steps.len() >= MOST_STEPS {
                left_out.insert(&vertex.digest);
                continue;
            }
            let place = facts.steps.len();
            let notes = by_definition.get(&vertex.digest).copied();
            let inputs = vertex.inputs.iter();
            let inputs = inputs.filter_map(|edge| places.get(&edge.vertex).copied());
            let step = step(vertex, op, notes, inputs.collect());
            for (input, note) in notes.into_iter().flat_map(|notes| &notes.contents) {
                looks.insert((place, *input), note.selectors.clone());
            }
            facts.steps.push(step);
            places.insert(&vertex.digest, place);
        }
        facts.left_out = left_out.len();
        looks
    }
}

fn step(
    vertex: &Vertex,
    op: &EngineOp,
    notes: Option<&VertexNotes>,
    inputs: Vec<usize>,
) -> StepFacts {
    let kind = summary::kind(&vertex.op);
    let material = match op.material() {
        Some(Material::Image(image)) => Some(image.digest),
        _ => None,
    };
    let keys = notes.into_iter().flat_map(|notes| &notes.keys);
    let contents = notes.into_iter().flat_map(|notes| &notes.contents);
    let contents = contents.map(|(input, note)| ContentFacts {
        input: *input,
        digest: note.digest.to_string(),
        tree: note.tree.clone(),
    });
    StepFacts {
        digest: vertex.digest.to_string(),
        name: words::kept(op.name()),
        kind,
        inputs,
        outcome: notes.map_or(Outcome::Unneeded, |notes| notes.outcome),
        cache: match vertex.metadata.ignore_cache {
            true => CacheUse::Off,
            false => CacheUse::Allowed,
        },
        keys: keys.map(ToString::to_string).collect(),
        contents: contents.collect(),
        facts: summary::facts(&vertex.op, material.as_ref()),
    }
}

/// The options that can change what steps are.
fn telling(options: &Attributes) -> BTreeMap<String, String> {
    let telling = options.iter().filter(|(key, _)| {
        let key = key.as_str();
        key.starts_with("build-arg:") || matches!(key, "no-cache" | "target" | "platform")
    });
    telling
        .take(MOST_OTHERS)
        .map(|(key, value)| (key.clone(), words::kept(value)))
        .collect()
}

/// The environment that images give, as far as configs can be read.
fn images(configs: &[(String, Bytes)]) -> Vec<ImageFacts> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Image {
        config: Config,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        #[serde(rename = "Env")]
        env: Option<Vec<String>>,
    }
    let mut images = Vec::new();
    for (name, config) in configs {
        let image: Image = serde_json::from_slice(config).unwrap_or_default();
        let env = image.config.env.unwrap_or_default();
        let env = env.iter().take(MOST_OTHERS).map(|variable| {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            format!("{name}={}", words::kept(value))
        });
        let facts = ImageFacts {
            name: name.clone(),
            env: env.collect(),
        };
        if !images.contains(&facts) {
            images.push(facts);
        }
    }
    // Configs are read side by side.
    images.sort_by(|one, other| one.name.cmp(&other.name));
    images
}
