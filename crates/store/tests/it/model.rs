//! Random histories of building, merging, letting go and pruning against a model: what is held is always whole, and in
//! the end nothing is left.

use std::collections::BTreeMap;
use std::fs;

use kiln_store::{Ref, Store};
use proptest::prelude::*;

use super::setup::{Rig, files, open, options};

/// One thing that happens. Numbers choose among the refs that are held, if there are any.
#[derive(Debug, Clone)]
enum Step {
    /// A tree on top of a held one, or of nothing.
    Build {
        on: Option<usize>,
        write: u8,
        delete: u8,
    },
    Merge(Vec<usize>),
    LetGo(usize),
    /// Let go and found again by id.
    Find(usize),
    Prune,
    /// Another process comes by.
    Open,
    /// A tree is begun and not finished.
    GiveUp(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (proptest::option::of(0..8_usize), 0..6_u8, 0..6_u8)
            .prop_map(|(on, write, delete)| Step::Build { on, write, delete }),
        2 => proptest::collection::vec(0..8_usize, 1..4).prop_map(Step::Merge),
        2 => (0..8_usize).prop_map(Step::LetGo),
        1 => (0..8_usize).prop_map(Step::Find),
        1 => Just(Step::Prune),
        1 => Just(Step::Open),
        1 => (0..8_usize).prop_map(Step::GiveUp),
    ];
    proptest::collection::vec(step, 1..25)
}

type Files = BTreeMap<String, String>;

/// The refs that are held and what must be in them. Deletions are kept for merges.
struct World {
    rig: Rig,
    store: Store,
    held: Vec<(Ref, Vec<Change>)>,
    count: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Write(String, String),
    Delete(String),
}

fn outcome(changes: &[Change]) -> Files {
    let mut found = Files::new();
    for change in changes {
        match change {
            Change::Write(name, content) => found.insert(name.clone(), content.clone()),
            Change::Delete(name) => found.remove(name),
        };
    }
    found
}

impl World {
    fn pick(&self, number: usize) -> Option<&(Ref, Vec<Change>)> {
        self.held.get(number % self.held.len().max(1))
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Build { on, write, delete } => {
                self.build(on, &write.to_string(), &delete.to_string())
            }
            Step::Merge(numbers) => {
                let chosen: Vec<_> = numbers
                    .iter()
                    .filter_map(|number| self.pick(*number).cloned())
                    .collect();
                let inputs: Vec<_> = chosen.iter().map(|(tree, _)| Some(tree.clone())).collect();
                if let Some(merged) = self.store.merge(&inputs, options("merge")).unwrap() {
                    let changes = chosen
                        .into_iter()
                        .flat_map(|(_, changes)| changes)
                        .collect();
                    self.held.push((merged, changes));
                }
            }
            Step::LetGo(number) if !self.held.is_empty() => {
                self.held.remove(number % self.held.len());
            }
            Step::Find(number) if !self.held.is_empty() => {
                let (tree, changes) = self.held.remove(number % self.held.len());
                let id = tree.id().to_owned();
                drop(tree);
                let found = self.store.get(&id).unwrap().unwrap();
                self.held.push((found, changes));
            }
            Step::Prune => {
                self.rig.prune_all();
            }
            Step::Open => self.store = open(self.rig.root()),
            Step::GiveUp(number) => {
                let parent = self.pick(number).map(|(tree, _)| tree.clone());
                let made = self
                    .store
                    .mutable(parent.as_ref(), options("given up"))
                    .unwrap();
                fs::write(made.upper_dir().join("never"), "seen").unwrap();
            }
            Step::LetGo(_) | Step::Find(_) => {}
        }
    }

    fn build(&mut self, on: Option<usize>, write: &str, delete: &str) {
        self.count += 1;
        let (parent, mut changes) = match on.and_then(|number| self.pick(number)) {
            Some((tree, changes)) => (Some(tree.clone()), changes.clone()),
            None => (None, Vec::new()),
        };
        let content = self.count.to_string();
        let made = self
            .store
            .mutable(parent.as_ref(), options("built"))
            .unwrap();
        {
            let tree = self.store.mount(&made.mounts().unwrap()).unwrap();
            if fs::remove_file(tree.path().join(delete)).is_ok() {
                changes.push(Change::Delete(delete.to_owned()));
            }
            fs::write(tree.path().join(write), &content).unwrap();
        }
        changes.push(Change::Write(write.to_owned(), content));
        self.held.push((made.commit().unwrap(), changes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_is_whole(history in steps()) {
        let rig = Rig::new();
        let mut world = World { store: rig.store.clone(), rig, held: Vec::new(), count: 0 };
        for step in history {
            world.play(step);
        }
        world.rig.prune_all();
        for (tree, changes) in &world.held {
            prop_assert_eq!(files(&world.store, tree), outcome(changes));
        }
        let World { rig, store, held, .. } = world;
        drop(held);
        store.settle();
        rig.store.settle();
        rig.prune_all();
        prop_assert_eq!(rig.usage(), vec![]);
        prop_assert_eq!(rig.snapshots(), 0);
    }
}
