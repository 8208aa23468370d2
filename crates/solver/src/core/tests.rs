//! Random graphs, random orders of events, failures and cancellations,
//! against a solver that just evaluates everything.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use oci_spec::image::Digest;
use proptest::prelude::*;

use super::{Action, Core, Event, Outcome, RequestId, Shape, Solve, TaskId, VertexId};
use crate::cache::{Cache, CacheError, ResultStore};
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
struct Broken;

/// What goes wrong with a toy op.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    CacheMap,
    Content,
    Execute,
}

/// An op over integers: its result depends on `code` and what it sees of its inputs.
#[derive(Clone, Debug)]
struct Toy {
    code: u64,
    /// Vertex and output; every input may be keyed by content and seen partially.
    inputs: Vec<(usize, usize, Dep)>,
    flaw: Flaw,
    ignore_cache: bool,
    /// Number of cache maps, for ops without inputs.
    maps: usize,
    /// The key of this source is made up for each build.
    random: bool,
}

#[derive(Clone, Copy, Debug)]
enum Dep {
    Definition,
    Content,
    /// Sees only part of the content.
    Selected,
}

impl Dep {
    fn view(self, content: u64) -> u64 {
        if matches!(self, Self::Selected) {
            content / 2
        } else {
            content
        }
    }
}

impl Toy {
    fn compute(&self, seen: &[u64]) -> u64 {
        // Few values, so that different ways often lead to the same content.
        seen.iter()
            .enumerate()
            .fold(self.code, |sum, (i, x)| sum + x * (i as u64 + 2))
            % 8
    }
}

fn digest(text: &str) -> Digest {
    let seed = Digest::from_str("random:seed").unwrap();
    derived(&seed, text)
}

/// The value of every vertex' first output; output `n` is that plus `n`.
fn naive(toys: &[Toy]) -> Vec<u64> {
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
fn closure(toys: &[Toy], root: usize) -> HashSet<usize> {
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
fn digests(toys: &[Toy]) -> Vec<Digest> {
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
struct Results {
    kept: Mutex<Vec<Option<u64>>>,
    /// Results that exist, but cannot be loaded.
    broken: Mutex<HashSet<String>>,
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
    fn put(&self, value: u64) -> String {
        let mut kept = self.kept.lock().unwrap();
        kept.push(Some(value));
        (kept.len() - 1).to_string()
    }

    fn get(&self, id: &str) -> Option<u64> {
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

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }
}

type ToyAction = Action<u64, Broken>;

/// A driver that finishes tasks in any order it likes.
struct Simulation<'a> {
    toys: &'a [Toy],
    core: Core<u64, Broken>,
    cache: Cache<u64>,
    results: Arc<Results>,
    dice: Dice,
    positions: HashMap<VertexId, usize>,
    open: Vec<ToyAction>,
    /// Work on keys stays in order.
    keys: VecDeque<ToyAction>,
    cancelled: HashSet<TaskId>,
    executing: HashSet<VertexId>,
    executed: BTreeMap<VertexId, usize>,
    executed_positions: Vec<usize>,
    loads: usize,
    answers: HashMap<RequestId, Result<u64, SolveError<Broken>>>,
    steps: usize,
}

static CLOCK: AtomicU64 = AtomicU64::new(1);
static BUILD: AtomicU64 = AtomicU64::new(1);

impl<'a> Simulation<'a> {
    fn new(toys: &'a [Toy], keys: Arc<MemoryKeys>, results: Arc<Results>, seed: u64) -> Self {
        BUILD.fetch_add(1, Ordering::Relaxed);
        Self {
            toys,
            core: Core::default(),
            cache: Cache {
                id: "local".into(),
                keys,
                results: results.clone(),
            },
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

    fn solve(&mut self, job: &str, request: u64, root: usize, output: usize) {
        let digests = digests(self.toys);
        let shape = |(toy, digest): (&Toy, Digest)| Shape {
            digest,
            name: "toy".into(),
            inputs: toy.inputs.iter().map(|(v, o, _)| (*v, *o)).collect(),
            options: VertexOptions {
                ignore_cache: toy.ignore_cache,
                export_cache: None,
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

    fn step(&mut self, event: Event<u64, Broken>) {
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
    fn finish_one(&mut self) -> bool {
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

    fn run(&mut self) {
        while self.finish_one() {}
    }

    fn outcome(&mut self, action: ToyAction) -> Outcome<u64, Broken> {
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
                Outcome::Loaded(self.results.get(&record.id).filter(|_| !interrupted))
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

    fn ledger(&self) -> Ledger<'_, u64> {
        Ledger {
            local: &self.cache,
            imported: &[],
        }
    }
}

fn cache_map(toy: &Toy, index: usize) -> CacheMap {
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

fn toys(flaws: bool) -> impl Strategy<Value = Vec<Toy>> {
    let dep = prop_oneof![
        Just(Dep::Definition),
        Just(Dep::Content),
        Just(Dep::Selected)
    ];
    let input = (any::<prop::sample::Index>(), 0..2_usize, dep);
    let flaw = prop_oneof![
        20 => Just(Flaw::None),
        1 => Just(if flaws { Flaw::CacheMap } else { Flaw::None }),
        1 => Just(if flaws { Flaw::Content } else { Flaw::None }),
        2 => Just(if flaws { Flaw::Execute } else { Flaw::None }),
    ];
    let toy = (
        0..4_u64,
        prop::collection::vec(input, 0..4),
        flaw,
        prop::bool::weighted(0.1),
        1..3_usize,
        prop::bool::weighted(0.2),
    );
    prop::collection::vec(toy, 1..12).prop_map(|drafts| {
        let mut toys = Vec::new();
        for (position, (code, inputs, flaw, ignore_cache, maps, random)) in
            drafts.into_iter().enumerate()
        {
            let inputs = if position == 0 {
                vec![]
            } else {
                inputs
                    .into_iter()
                    .map(|(i, o, d)| (i.index(position), o, d))
                    .collect()
            };
            let random = random && inputs.is_empty();
            toys.push(Toy {
                code,
                inputs,
                flaw,
                ignore_cache,
                maps,
                random,
            });
        }
        toys
    })
}

fn check_answer(
    toys: &[Toy],
    root: usize,
    output: usize,
    answer: &Result<u64, SolveError<Broken>>,
) {
    let below = closure(toys, root);
    match answer {
        Ok(value) => assert_eq!(*value, naive(toys)[root] + output as u64),
        Err(SolveError::Vertex(failure)) => {
            let digests = digests(toys);
            let guilty: Vec<usize> = (0..toys.len())
                .filter(|i| digests[*i] == failure.vertex)
                .collect();
            assert!(guilty.iter().all(|i| toys[*i].flaw != Flaw::None));
            // The work may have been merged with an equal vertex of another branch.
            let codes: HashSet<u64> = below.iter().map(|i| toys[*i].code).collect();
            assert!(guilty.iter().all(|i| codes.contains(&toys[*i].code)));
        }
        Err(other) => panic!("unexpected: {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Several builds one after the other, each with a fresh core but the same
    /// cache, several requests at once: right values, each vertex once, nothing kept.
    #[test]
    fn gives_what_evaluation_gives(
        builds in prop::collection::vec((toys(false), any::<u64>()), 1..4),
        roots in prop::collection::vec((any::<prop::sample::Index>(), 0..2_usize), 1..4),
    ) {
        let (keys, results) = (Arc::new(MemoryKeys::default()), Arc::new(Results::default()));
        for (toys, seed) in &builds {
            let mut sim = Simulation::new(toys, keys.clone(), results.clone(), *seed);
            for (request, (root, output)) in roots.iter().enumerate() {
                let job = format!("job {}", request % 2);
                sim.solve(&job, request as u64, root.index(toys.len()), *output);
                for _ in 0..sim.dice.roll(10) {
                    sim.finish_one();
                }
            }
            sim.run();
            for (request, (root, output)) in roots.iter().enumerate() {
                let answer = sim.answers.get(&RequestId(request as u64));
                let answer = answer.expect("every request is answered");
                prop_assert!(answer.is_ok(), "{answer:?}");
                check_answer(toys, root.index(toys.len()), *output, answer);
                if toys[root.index(toys.len())].ignore_cache {
                    // It, or what it was merged with, has run.
                    prop_assert!(!sim.executed.is_empty());
                }
            }
            prop_assert!(sim.executed.values().all(|count| *count == 1));
            sim.step(Event::EndJob(JobId::new("job 0")));
            sim.step(Event::EndJob(JobId::new("job 1")));
            sim.run();
            prop_assert_eq!(sim.core.size(), 0);
        }
    }

    /// A build of what was built before loads one result and runs nothing.
    #[test]
    fn a_second_build_only_loads(mut toys in toys(false), first: u64, second: u64) {
        for toy in &mut toys {
            toy.random = false;
            toy.ignore_cache = false;
        }
        let (keys, results) = (Arc::new(MemoryKeys::default()), Arc::new(Results::default()));
        let root = toys.len() - 1;
        for (turn, seed) in [first, second].into_iter().enumerate() {
            let mut sim = Simulation::new(&toys, keys.clone(), results.clone(), seed);
            sim.solve("job", 0, root, 0);
            sim.run();
            check_answer(&toys, root, 0, &sim.answers[&RequestId(0)]);
            if turn == 1 {
                prop_assert_eq!(&sim.executed_positions, &Vec::<usize>::new());
                prop_assert_eq!(sim.loads, 1);
            }
        }
    }

    /// Failures, lost results, solves given up and jobs that end, at any time.
    #[test]
    fn survives_failures_and_cancellation(
        toys in toys(true),
        seeds in prop::collection::vec(any::<u64>(), 1..4),
        roots in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8), 1..5),
    ) {
        let (keys, results) = (Arc::new(MemoryKeys::default()), Arc::new(Results::default()));
        for seed in seeds {
            let mut sim = Simulation::new(&toys, keys.clone(), results.clone(), seed);
            let mut ended = HashSet::new();
            for (request, (root, fate)) in roots.iter().enumerate() {
                let job = format!("job {request}");
                sim.solve(&job, request as u64, root.index(toys.len()), 0);
                for _ in 0..sim.dice.roll(30) {
                    sim.finish_one();
                }
                let victim = sim.dice.roll(request + 1);
                match fate {
                    0 => {}
                    1 => {
                        sim.step(Event::GiveUp(RequestId(victim as u64)));
                        ended.insert(victim);
                    }
                    _ => {
                        sim.step(Event::EndJob(JobId::new(format!("job {victim}"))));
                        ended.insert(victim);
                    }
                }
            }
            sim.run();
            for (request, (root, _)) in roots.iter().enumerate() {
                let root = root.index(toys.len());
                let answer = sim.answers.get(&RequestId(request as u64));
                if ended.contains(&request) && matches!(answer, None | Some(Err(SolveError::Cancelled))) {
                    continue;
                }
                let answer = answer.expect("every request is answered");
                check_answer(&toys, root, 0, answer);
                let healthy = closure(&toys, root).iter().all(|i| toys[*i].flaw == Flaw::None);
                if healthy && toys.iter().all(|toy| toy.flaw == Flaw::None) {
                    prop_assert!(answer.is_ok());
                }
            }
            for request in 0..roots.len() {
                sim.step(Event::EndJob(JobId::new(format!("job {request}"))));
            }
            sim.run();
            prop_assert_eq!(sim.core.size(), 0);
            // Some results get lost before the next build, and some break.
            let count = results.kept.lock().unwrap().len();
            for id in 0..count {
                match sim.dice.roll(6) {
                    0 => results.kept.lock().unwrap()[id] = None,
                    1 => {
                        results.broken.lock().unwrap().insert(id.to_string());
                    }
                    _ => {}
                }
            }
        }
    }
}
