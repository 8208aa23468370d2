//! Random graphs, random orders of events, failures and cancellations,
//! against a solver that just evaluates everything.

mod simulation;

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;

use self::simulation::{Broken, Dep, Flaw, Results, Simulation, Toy, closure, digests, naive};
use super::{Event, RequestId};
use crate::cache::Cache;
use crate::error::SolveError;
use crate::memory::MemoryKeys;
use crate::observe::JobId;

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
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Several builds one after the other, each with a fresh core but the same
    /// cache, several requests at once: right values, each vertex once, nothing kept.
    #[test]
    fn gives_what_evaluation_gives(
        builds in prop::collection::vec((toys(false), any::<u64>()), 1..5),
        roots in prop::collection::vec((any::<prop::sample::Index>(), 0..2_usize), 1..4),
    ) {
        let results = Arc::new(Results::default());
        let mut keys = Arc::new(MemoryKeys::default());
        let mut imported = Vec::new();
        for (turn, (toys, seed)) in builds.iter().enumerate() {
            if seed % 3 == 0 {
                // Goes on with an empty cache, and imports what was the local one.
                let keys = std::mem::take(&mut keys);
                let id = format!("import {turn}");
                imported.push(Cache { id, keys, results: results.clone() });
            }
            let mut sim = Simulation::new(toys, keys.clone(), results.clone(), *seed);
            sim.imported = imported.clone();
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
