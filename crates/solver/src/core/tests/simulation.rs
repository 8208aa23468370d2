//! Toy ops over integers, a solver that just evaluates everything, and a
//! driver that finishes tasks in random order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use oci_spec::image::Digest;

use crate::cache::{Cache, CacheError, ResultStore};
use crate::core::{Action, Core, Event, Outcome, RequestId, Shape, Solve, TaskId, VertexId};
use crate::digest::derived;
use crate::error::SolveError;
use crate::graph::VertexOptions;
use crate::key::Key;
use crate::ledger::{self, Ledger};
use crate::memory::MemoryKeys;
use crate::observe::JobId;
use crate::op::{CacheDep, CacheMap};

#[derive(Debug, thiserror::Error)]
#[error("failed on purpose")]
pub(super) struct Broken;

/// What goes wrong with a toy op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flaw {
    None,
    CacheMap,
    Content,
    Execute,
}

/// An op over integers: its result depends on `code` and what it sees of its inputs.
#[derive(Clone, Debug)]
pub(super) struct Toy {
    pub(super) code: u64,
    /// Vertex and output; every input may be keyed by content and seen partially.
    pub(super) inputs: Vec<(usize, usize, Dep)>,
    pub(super) flaw: Flaw,
    pub(super) ignore_cache: bool,
    /// Number of cache maps, for ops without inputs.
    pub(super) maps: usize,
    /// The key of this source is made up for each build.
    pub(super) random: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Dep {
    Definition,
    Content,
    /// Sees only part of the content.
    Selected,
}

impl Dep {
    pub(super) fn view(self, content: u64) -> u64 {
        if matches!(self, Self::Selected) {
            content / 2
        } else {
            content
        }
    }
}

impl Toy {
    pub(super) fn compute(&self, seen: &[u64]) -> u64 {
        // Few values, so that different ways often lead to the same content.
        seen.iter()
            .enumerate()
            .fold(self.code, |sum, (i, x)| sum + x * (i as u64 + 2))
            % 8
    }
}

pub(super) fn digest(text: &str) -> Digest {
    let seed = Digest::from_str("random:seed").unwrap();
    derived(&seed, text)
}

/// The value of every vertex' first output; output `n` is that plus `n`.
pub(super) fn naive(toys: &[Toy]) -> Vec<u64> {
    let mut values = Vec::new();
    for toy in toys {
        let seen: Vec<u64> = toy
            .inputs
            .iter()
            .map(|(v, o, dep)| dep.view(values[*v] + *o as u64))
            .collect();
        values.push(toy.compute(&seen));
    }
    values
}

/// The vertices below one, with itself.
pub(super) fn closure(toys: &[Toy], root: usize) -> HashSet<usize> {
    let mut all = HashSet::from([root]);
    let mut open = vec![root];
    while let Some(vertex) = open.pop() {
        open.extend(
            toys[vertex]
                .inputs
                .iter()
                .map(|(v, _, _)| *v)
                .filter(|v| all.insert(*v)),
        );
    }
    all
}

/// Digests cover ops and inputs, as those of real definitions do.
pub(super) fn digests(toys: &[Toy]) -> Vec<Digest> {
    let mut all: Vec<Digest> = Vec::new();
    for (position, toy) in toys.iter().enumerate() {
        // Equal ops are different vertices, as if they differed in some label.
        all.push(digest(&format!(
            "vertex {position} {} {:?}",
            toy.code, toy.inputs
        )));
    }
    all
}

/// Results that can be lost.
#[derive(Default)]
pub(super) struct Results {
    pub(super) kept: Mutex<Vec<Option<u64>>>,
    /// Results that exist, but cannot be loaded.
    pub(super) broken: Mutex<HashSet<String>>,
}

#[async_trait]
impl ResultStore for Results {
    type Output = u64;
    async fn save(&self, _: &u64, _: SystemTime) -> Result<String, CacheError> {
        Err("the simulation saves by itself".into())
    }
    async fn load(&self, _: &str) -> Result<u64, CacheError> {
        Err("the simulation loads by itself".into())
    }
    fn exists(&self, id: &str) -> bool {
        id.parse().is_ok_and(|i: usize| {
            self.kept
                .lock()
                .unwrap()
                .get(i)
                .is_some_and(Option::is_some)
        })
    }
}

impl Results {
    pub(super) fn put(&self, value: u64) -> String {
        let mut kept = self.kept.lock().unwrap();
        kept.push(Some(value));
        (kept.len() - 1).to_string()
    }

    pub(super) fn get(&self, id: &str) -> Option<u64> {
        if self.broken.lock().unwrap().contains(id) {
            return None;
        }
        self.kept
            .lock()
            .unwrap()
            .get(id.parse::<usize>().unwrap())
            .copied()
            .flatten()
    }
}

pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }
}

type ToyAction = Action<u64, Broken>;

/// A driver that finishes tasks in any order it likes.
pub(super) struct Simulation<'a> {
    toys: &'a [Toy],
    pub(super) core: Core<u64, Broken>,
    cache: Cache<u64>,
    pub(super) imported: Vec<Cache<u64>>,
    results: Arc<Results>,
    pub(super) dice: Dice,
    positions: HashMap<VertexId, usize>,
    open: Vec<ToyAction>,
    /// Work on keys stays in order.
    keys: VecDeque<ToyAction>,
    cancelled: HashSet<TaskId>,
    executing: HashSet<VertexId>,
    pub(super) executed: BTreeMap<VertexId, usize>,
    pub(super) executed_positions: Vec<usize>,
    pub(super) loads: usize,
    pub(super) answers: HashMap<RequestId, Result<u64, SolveError<Broken>>>,
    steps: usize,
}

pub(super) static CLOCK: AtomicU64 = AtomicU64::new(1);
pub(super) static BUILD: AtomicU64 = AtomicU64::new(1);

impl<'a> Simulation<'a> {
    pub(super) fn new(
        toys: &'a [Toy],
        keys: Arc<MemoryKeys>,
        results: Arc<Results>,
        seed: u64,
    ) -> Self {
        BUILD.fetch_add(1, Ordering::Relaxed);
        Self {
            toys,
            core: Core::default(),
            cache: Cache {
                id: "local".into(),
                keys,
                results: results.clone(),
            },
            imported: Vec::new(),
            results,
            dice: Dice(seed),
            positions: HashMap::new(),
            open: Vec::new(),
            keys: VecDeque::new(),
            cancelled: HashSet::new(),
            executing: HashSet::new(),
            executed: BTreeMap::new(),
            executed_positions: Vec::new(),
            loads: 0,
            answers: HashMap::new(),
            steps: 0,
        }
    }

    pub(super) fn solve(&mut self, job: &str, request: u64, root: usize, output: usize) {
        let digests = digests(self.toys);
        let shape = |(toy, digest): (&Toy, Digest)| Shape {
            digest,
            name: "toy".into(),
            inputs: toy.inputs.iter().map(|(v, o, _)| (*v, *o)).collect(),
            options: VertexOptions {
                ignore_cache: toy.ignore_cache,
                export_cache: None,
                realm: None,
            },
        };
        let graph = self.toys.iter().zip(digests).map(shape).collect();
        let (job, request) = (JobId::new(job), RequestId(request));
        self.step(Event::Solve(Solve {
            job,
            request,
            graph,
            root,
            output,
        }));
    }

    pub(super) fn step(&mut self, event: Event<u64, Broken>) {
        self.steps += 1;
        for action in self.core.step(event) {
            match action {
                Action::Created {
                    vertex, position, ..
                } => {
                    self.positions.insert(vertex, position);
                }
                Action::Cancel(task) => {
                    self.cancelled.insert(task);
                }
                Action::Answer(request, answer) => {
                    let before = self.answers.insert(request, answer.map(|(value, _)| value));
                    assert!(before.is_none(), "answered twice");
                }
                Action::Query { .. } | Action::Records { .. } | Action::Commit { .. } => {
                    self.keys.push_back(action);
                }
                Action::Execute { vertex, .. } => {
                    assert!(self.executing.insert(vertex), "executes twice at once");
                    self.open.push(action);
                }
                action => {
                    if action.task().is_some() {
                        self.open.push(action);
                    }
                }
            }
        }
    }

    /// Finishes one task; answers whether there was one.
    pub(super) fn finish_one(&mut self) -> bool {
        let count = self.open.len() + usize::from(!self.keys.is_empty());
        if count == 0 {
            return false;
        }
        let chosen = self.dice.roll(count);
        let action = if chosen < self.open.len() {
            self.open.swap_remove(chosen)
        } else {
            self.keys.pop_front().unwrap()
        };
        let (_, task) = action.task().unwrap();
        let outcome = self.outcome(action);
        self.step(Event::Finished(task, outcome));
        true
    }

    pub(super) fn run(&mut self) {
        while self.finish_one() {}
    }

    pub(super) fn outcome(&mut self, action: ToyAction) -> Outcome<u64, Broken> {
        let (vertex, task) = action.task().unwrap();
        let toy = self
            .positions
            .get(&vertex)
            .map(|position| &self.toys[*position]);
        let toy = toy.unwrap();
        // A cancelled call may still succeed.
        let interrupted = self.cancelled.contains(&task) && self.dice.roll(2) == 0;
        let check = |flaw| {
            if interrupted || toy.flaw == flaw {
                Err(Arc::new(Broken))
            } else {
                Ok(())
            }
        };
        match action {
            Action::CacheMap { index, .. } => {
                Outcome::CacheMap(check(Flaw::CacheMap).map(|()| cache_map(toy, index)))
            }
            Action::ContentDigest { input, output, .. } => {
                let seen = toy.inputs[input].2.view(output);
                Outcome::ContentDigest(
                    check(Flaw::Content).map(|()| Some(digest(&format!("content {seen}")))),
                )
            }
            Action::Prepare { .. } => Outcome::Prepared(Ok(())),
            Action::Execute { inputs, .. } => {
                self.executing.remove(&vertex);
                let result = check(Flaw::Execute).map(|()| {
                    let inputs = inputs.iter().zip(&toy.inputs);
                    let seen: Vec<u64> = inputs.map(|(x, (_, _, dep))| dep.view(*x)).collect();
                    let value = toy.compute(&seen);
                    (0..3).map(|output| value + output).collect()
                });
                if result.is_ok() {
                    *self.executed.entry(vertex).or_default() += 1;
                    self.executed_positions.push(self.positions[&vertex]);
                }
                Outcome::Executed(result)
            }
            Action::Load { record, .. } => {
                self.loads += 1;
                let loaded = self.results.get(&record.id).filter(|_| !interrupted);
                if loaded.is_some() && *record.cache != *self.cache.id {
                    ledger::commit(&self.cache, &record.key, &record.id, record.created);
                }
                Outcome::Loaded(loaded)
            }
            Action::Commit { keys, output, .. } => {
                let id = self.results.put(output);
                let created = SystemTime::UNIX_EPOCH
                    + Duration::from_secs(CLOCK.fetch_add(1, Ordering::Relaxed));
                let save = |key: &Arc<Key>| ledger::commit(&self.cache, key, &id, created);
                Outcome::Committed(keys.iter().map(save).collect())
            }
            Action::Query { query, .. } => Outcome::Matches(self.ledger().query(&query)),
            Action::Records { key, .. } => Outcome::Records(self.ledger().records(&key)),
            other => panic!("not a task: {other:?}"),
        }
    }

    pub(super) fn ledger(&self) -> Ledger<'_, u64> {
        Ledger {
            local: &self.cache,
            imported: &self.imported,
        }
    }
}

pub(super) fn cache_map(toy: &Toy, index: usize) -> CacheMap {
    let dep = |dep: &Dep| CacheDep {
        selector: matches!(dep, Dep::Selected).then(|| digest("selector")),
        content: !matches!(dep, Dep::Definition),
    };
    let kinds: Vec<Dep> = toy.inputs.iter().map(|(_, _, dep)| *dep).collect();
    let text = format!("op {} {index} {kinds:?}", toy.code);
    let map = if toy.random {
        let build = BUILD.load(Ordering::Relaxed);
        Digest::from_str(&format!("random:{build}x{}", toy.code)).unwrap()
    } else {
        digest(&text)
    };
    CacheMap {
        digest: map,
        deps: toy.inputs.iter().map(|(_, _, d)| dep(d)).collect(),
        more: toy.inputs.is_empty() && index + 1 < toy.maps,
    }
}
