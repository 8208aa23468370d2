//! What differs between a step and the one of an earlier build that it stands for.

use std::collections::HashMap;

use super::cause::{Cause, Origin, Presence};
use super::facts::{BuildFacts, CacheUse, ContentFacts, StepFacts, StepKind};
use super::pairs::{Pairs, pair};
use super::{Aspect, Fact, words};

/// Two builds, step by step.
pub(super) struct Comparison<'a> {
    pub(super) now: &'a BuildFacts,
    pub(super) earlier: &'a BuildFacts,
    pub(super) pairs: Pairs,
    /// Whether a step has the same result as its partner by all that counts.
    same: Vec<bool>,
}

/// One thing that differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// What the step says, or after which it comes.
    Said(Cause),
    /// What it saw of one of its inputs.
    Saw {
        input: usize,
        before: Option<String>,
        now: Option<String>,
    },
    /// One of the steps that it builds on.
    Follows(usize),
}

impl<'a> Comparison<'a> {
    pub(super) fn new(now: &'a BuildFacts, earlier: &'a BuildFacts) -> Self {
        let mut comparison = Self {
            now,
            earlier,
            pairs: pair(now, earlier),
            same: Vec::with_capacity(now.steps.len()),
        };
        for step in 0..now.steps.len() {
            let is_same = comparison.pairs.earlier_of[step]
                .is_some_and(|partner| comparison.is_same(step, partner));
            comparison.same.push(is_same);
        }
        comparison
    }

    /// Whether the two are builds of the same thing.
    pub(super) fn are_kin(&self) -> bool {
        let places = &self.earlier.places;
        let mut shared = self
            .now
            .places
            .iter()
            .filter(|place| places.contains(place));
        shared.next().is_some() || self.shares_a_step()
    }

    fn shares_a_step(&self) -> bool {
        let pairs = self.pairs.earlier_of.iter().enumerate();
        let mut pairs = pairs.filter_map(|(now, earlier)| Some((now, (*earlier)?)));
        pairs.any(|(now, earlier)| {
            let (now, earlier) = (&self.now.steps[now], &self.earlier.steps[earlier]);
            now.kind != StepKind::Local && now.facts == earlier.facts
        })
    }

    /// Inputs come first, so what they are is known already.
    fn is_same(&self, step: usize, partner: usize) -> bool {
        let (now, earlier) = (&self.now.steps[step], &self.earlier.steps[partner]);
        if now.kind == StepKind::Local {
            return true;
        }
        // What had to run is not found by its key.
        let had_to_run = now.cache == CacheUse::Off && now.outcome.is_miss();
        !had_to_run && now.is_keyed_as(earlier) && self.inputs(step, partner).is_empty()
    }

    /// All that differs, the step's own words first.
    pub(super) fn of(&self, step: usize, partner: usize) -> Vec<Difference> {
        let mut all = self.said(step, partner);
        all.extend(self.inputs(step, partner));
        all
    }

    fn said(&self, step: usize, partner: usize) -> Vec<Difference> {
        let (now, earlier) = (&self.now.steps[step], &self.earlier.steps[partner]);
        let mut changed = changed(&now.facts, &earlier.facts);
        changed.sort_by_key(|(aspect, ..)| weight(aspect));
        let causes = changed.into_iter().map(|(aspect, before, now)| {
            Difference::Said(Cause::Changed {
                origin: self.origin(&aspect, before.as_deref(), now.as_deref()),
                aspect,
                before: before.as_deref().map(words::shown),
                now: now.as_deref().map(words::shown),
            })
        });
        let mut all: Vec<Difference> = causes.collect();
        let is_another = now.kind != StepKind::Local && !now.is_keyed_as(earlier);
        if all.is_empty() && is_another {
            all.push(Difference::Said(Cause::Definition));
        }
        all
    }

    fn origin(&self, aspect: &Aspect, before: Option<&str>, now: Option<&str>) -> Origin {
        let Aspect::Variable(name) = aspect else {
            return Origin::Definition;
        };
        let argument = format!("build-arg:{name}");
        if self.now.options.get(&argument) != self.earlier.options.get(&argument) {
            return Origin::BuildArgument;
        }
        let image = |facts: &BuildFacts, value: &str| {
            let variable = format!("{name}={value}");
            let mut images = facts.images.iter();
            let image = images.find(|image| image.env.contains(&variable));
            image.map(|image| image.name.clone())
        };
        let in_now = now.map(|value| image(self.now, value));
        let in_earlier = before.map(|value| image(self.earlier, value));
        match (in_now, in_earlier) {
            (Some(None), _) | (_, Some(None)) => Origin::Definition,
            (Some(Some(image)), _) | (None, Some(Some(image))) => Origin::BaseImage(image),
            (None, None) => Origin::Definition,
        }
    }

    /// What differs in what the step builds on.
    fn inputs(&self, step: usize, partner: usize) -> Vec<Difference> {
        let (now, earlier) = (&self.now.steps[step], &self.earlier.steps[partner]);
        let mut found = Found::default();
        for (input, &source) in now.inputs.iter().enumerate() {
            let known = self.pairs.earlier_of[source];
            let known = known.filter(|known| earlier.inputs.contains(known));
            found.covered.extend(known);
            let saw = now.contents.iter().find(|content| content.input == input);
            if let Some(saw) = saw
                && self.contents(&mut found, (saw, source), (earlier, known))
            {
                continue;
            }
            match (known, self.pairs.earlier_of[source]) {
                (Some(_), _) if self.same[source] => {}
                (Some(_), _) => found.differences.push(Difference::Follows(source)),
                (None, None) => {
                    found.has_new = true;
                    found.differences.push(Difference::Follows(source));
                }
                (None, Some(_)) => drop(found.moved.get_or_insert(source)),
            }
        }
        let mut inputs = earlier.inputs.iter();
        let left = inputs.find(|input| !found.covered.contains(input)).copied();
        if !found.has_new && (found.moved.is_some() || left.is_some()) {
            found
                .differences
                .push(Difference::Said(self.order(found.moved, left)));
        }
        found.differences
    }

    /// Compares what was seen of an input; whether there was something to compare it with.
    fn contents(
        &self,
        found: &mut Found,
        (saw, source): (&ContentFacts, usize),
        (earlier, known): (&StepFacts, Option<usize>),
    ) -> bool {
        let source_of = |content: &ContentFacts| earlier.inputs.get(content.input).copied();
        let mut equal = earlier
            .contents
            .iter()
            .filter(|other| other.digest == saw.digest);
        if let Some(equal) = equal.next() {
            found.covered.extend(source_of(equal));
            return true;
        }
        let of_known = |content: &&ContentFacts| known.is_some() && source_of(content) == known;
        let Some(before) = earlier.contents.iter().find(of_known) else {
            // There is nothing to tell of a directory that was not looked at before.
            return self.now.steps[source].kind == StepKind::Local && known.is_some();
        };
        found.differences.push(Difference::Saw {
            input: saw.input,
            before: before.tree.clone(),
            now: saw.tree.clone(),
        });
        if self.now.steps[source].kind != StepKind::Local {
            found.differences.push(Difference::Follows(source));
        }
        true
    }

    fn order(&self, now: Option<usize>, before: Option<usize>) -> Cause {
        let is_here = before.is_none_or(|before| self.pairs.now_of[before].is_some());
        Cause::Order {
            now: now.map(|now| words::shown(&self.now.steps[now].name)),
            before: before.map(|before| words::shown(&self.earlier.steps[before].name)),
            presence: match is_here {
                true => Presence::Here,
                false => Presence::Removed,
            },
        }
    }
}

/// What is found while inputs are compared.
#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
    /// Inputs of the earlier step that have been dealt with.
    covered: Vec<usize>,
    /// An input that the earlier build had, but not here.
    moved: Option<usize>,
    /// Whether there is an input that the earlier build did not have.
    has_new: bool,
}

type Changed = (Aspect, Option<String>, Option<String>);

/// The facts that are not the same, with what they were and what they are.
fn changed(now: &[Fact], earlier: &[Fact]) -> Vec<Changed> {
    let (was, is) = (by_aspect(earlier), by_aspect(now));
    let mut changed: Vec<Changed> = Vec::new();
    for fact in now {
        let before = was.get(&fact.aspect).copied();
        if before != Some(&fact.value) {
            let before = before.map(str::to_owned);
            changed.push((fact.aspect.clone(), before, Some(fact.value.clone())));
        }
    }
    for fact in earlier.iter().filter(|fact| !is.contains_key(&fact.aspect)) {
        changed.push((fact.aspect.clone(), Some(fact.value.clone()), None));
    }
    // Of course another image has another digest.
    if changed.iter().any(|(aspect, ..)| *aspect == Aspect::Source) {
        changed.retain(|(aspect, ..)| *aspect != Aspect::SourceDigest);
    }
    changed
}

fn by_aspect(facts: &[Fact]) -> HashMap<&Aspect, &str> {
    let facts = facts.iter();
    facts
        .map(|fact| (&fact.aspect, fact.value.as_str()))
        .collect()
}

/// What tells most comes first.
fn weight(aspect: &Aspect) -> u8 {
    match aspect {
        Aspect::Source | Aspect::SourceDigest | Aspect::Command | Aspect::Action(_) => 0,
        Aspect::Variable(_) | Aspect::Mount(_) | Aspect::Secret(_) => 1,
        Aspect::Owner(_) | Aspect::Mode(_) | Aspect::Options(_) => 1,
        Aspect::Directory | Aspect::User => 2,
        _ => 3,
    }
}
