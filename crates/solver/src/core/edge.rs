//! The state of one edge: an output of a vertex, on its way to a result.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use oci_spec::image::Digest;

use super::ids::{EdgeId, RequestId, TaskId, VertexId};
use super::index::{Trait, Way};
use crate::digest::root_key;
use crate::error::SolveError;
use crate::key::{ExtraInputs, Key, KeyUse, Record, TracedKey};
use crate::op::CacheMap;

/// How far an edge has come, or how far somebody wants it to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    #[default]
    Nothing,
    /// All keys are known that follow from definitions.
    Definition,
    /// All keys are known, also those that follow from the content of inputs.
    Content,
    /// The result is there.
    Result,
}

/// Where an edge is.
#[derive(Debug)]
pub(crate) enum EdgeState<T, E: std::error::Error + 'static> {
    /// Learning keys, and asking caches for matches.
    Probing,
    /// Taking the result from a cache.
    Loading { task: TaskId, record: Record },
    /// The vertex is executing.
    Executing,
    /// Saving what the vertex made.
    Committing { output: T, keys: Vec<Arc<Key>> },
    /// The result is there.
    Done { output: T, keys: Vec<TracedKey> },
    /// There will be no result.
    Failed(SolveError<E>),
    /// Another edge does the work.
    Merged,
}

/// Who wants an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// An edge, for its input of this number.
    Edge(EdgeId, usize),
    Request(RequestId),
}

/// What an edge knows about one of its inputs.
#[derive(Debug)]
pub(crate) struct Dep<T> {
    pub edge: EdgeId,
    /// What we ask of it at present.
    pub asked: Reach,
    /// How far it had come when we last looked.
    pub reach: Reach,
    /// How many of its keys we have taken over.
    pub seen: usize,
    pub keys: Vec<TracedKey>,
    /// How many of these have not been looked up.
    pub fresh: usize,
    pub output: Option<(T, Vec<TracedKey>)>,
    /// Keys of this edge that the input's keys lead to, by id.
    pub matches: BTreeMap<String, Arc<Key>>,
    pub content: Content,
}

/// The part of an input's content in the key.
#[derive(Debug)]
pub(crate) enum Content {
    /// Not known, and not known yet whether it matters.
    Open,
    /// Looked up in the caches.
    Probed(Option<TracedKey>),
}

/// One output of one vertex.
#[derive(Debug)]
pub(crate) struct Edge<T, E: std::error::Error + 'static> {
    pub vertex: VertexId,
    pub output: usize,
    pub state: EdgeState<T, E>,
    pub reach: Reach,
    pub wants: BTreeMap<Asker, Reach>,
    pub deps: Vec<Dep<T>>,
    /// The cache map in use.
    pub map: Option<Arc<CacheMap>>,
    pub maps_seen: usize,
    /// Digests of all maps seen.
    pub digests: Vec<Digest>,
    /// Keys that others may build on. Only ever grows.
    pub keys: Vec<TracedKey>,
    /// Ids of keys on which all inputs agree, taken up in `keys`.
    pub joined: HashSet<String>,
    pub candidates: Vec<Record>,
    /// Records that could not be loaded, by cache and id.
    pub tried: BTreeSet<(Arc<str>, String)>,
    /// Questions to caches without answer. The edge does not move meanwhile.
    pub lookups: usize,
    /// Inputs that may have something new to tell.
    pub changed: BTreeSet<usize>,
    /// What became known of what the edge is, and is not in the index yet.
    pub news: Vec<Trait>,
    pub extra: ExtraInputs,
    /// What it was last working towards.
    pub pursued: Reach,
    /// What askers were last told: reach, number of keys, and whether that is all.
    pub told: (Reach, usize, bool),
}

impl<T, E: std::error::Error + 'static> Edge<T, E> {
    pub(crate) fn new(vertex: VertexId, output: usize, inputs: Vec<EdgeId>) -> Self {
        let deps = inputs
            .into_iter()
            .map(|edge| Dep {
                edge,
                asked: Reach::Nothing,
                reach: Reach::Nothing,
                seen: 0,
                keys: Vec::new(),
                fresh: 0,
                output: None,
                matches: BTreeMap::new(),
                content: Content::Open,
            })
            .collect();
        Self {
            vertex,
            output,
            state: EdgeState::Probing,
            reach: Reach::Nothing,
            wants: BTreeMap::new(),
            deps,
            map: None,
            maps_seen: 0,
            digests: Vec::new(),
            keys: Vec::new(),
            joined: HashSet::new(),
            candidates: Vec::new(),
            tried: BTreeSet::new(),
            lookups: 0,
            changed: BTreeSet::new(),
            news: Vec::new(),
            extra: ExtraInputs::default(),
            pursued: Reach::Nothing,
            told: (Reach::Nothing, 0, false),
        }
    }

    /// The most that anybody wants.
    pub(crate) fn demand(&self) -> Reach {
        self.wants.values().copied().max().unwrap_or_default()
    }

    /// Whether the state will never change again.
    pub(crate) fn ended(&self) -> bool {
        matches!(
            self.state,
            EdgeState::Done { .. } | EdgeState::Failed(_) | EdgeState::Merged
        )
    }

    /// For input `index`: its keys as a new key of this edge refers to them.
    /// Once there is a result only the result's keys count.
    pub(crate) fn input_keys(&self, index: usize) -> Vec<KeyUse> {
        let selector = self.selector(index);
        let dep = &self.deps[index];
        let keys = dep.output.as_ref().map_or(&dep.keys, |(_, keys)| keys);
        let mut uses: Vec<KeyUse> = keys.iter().map(|key| key.used(selector)).collect();
        if let Content::Probed(Some(key)) = &dep.content {
            uses.push(key.used(None));
        }
        uses
    }

    pub(crate) fn selector(&self, index: usize) -> Option<&Digest> {
        self.map.as_ref()?.deps.get(index)?.selector.as_ref()
    }

    /// Takes down a way to an input, or that there are no inputs.
    pub(crate) fn learn(&mut self, way: Option<(usize, Way)>) {
        let Some(map) = &self.map else { return };
        let Ok(output) = i64::try_from(self.output) else {
            return;
        };
        self.news.push(Trait {
            digest: root_key(&map.digest, output),
            way,
        });
    }

    /// Takes down where an input comes from.
    pub(crate) fn learn_edge(&mut self, index: usize) {
        let selector = self.selector(index).cloned();
        self.learn(Some((index, Way::Edge(self.deps[index].edge, selector))));
    }

    /// Drops what only a search needs.
    pub(crate) fn forget_search(&mut self) {
        for dep in &mut self.deps {
            dep.keys = Vec::new();
            dep.output = None;
            dep.matches = BTreeMap::new();
        }
        self.changed = BTreeSet::new();
        self.news = Vec::new();
        self.candidates = Vec::new();
        self.joined = HashSet::new();
        self.tried = BTreeSet::new();
    }
}
