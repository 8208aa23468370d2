//! From the facts of a build and of earlier ones to why its steps ran.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::cause::{Cause, Compared, Explanation, FileChanges};
use super::differences::{Comparison, Difference};
use super::facts::{BuildFacts, CacheUse, Outcome, StepKind};
use super::words;

/// How many pairs of trees are compared file by file for one build.
const MOST_TREES: usize = 30;

/// Differences of one step that are told.
const MOST_CAUSES: usize = 8;

/// An earlier build.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// Its id.
    pub build: &'a str,
    /// What is known of it.
    pub facts: &'a BuildFacts,
}

/// Two trees that one step looked at, in this build and an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePair {
    /// The place of the step.
    pub step: usize,
    /// The number of the input.
    pub input: usize,
    /// The earlier tree.
    pub before: Option<String>,
    /// The tree of this build.
    pub now: Option<String>,
}

/// Says which files differ.
pub trait FileComparison {
    /// What differs in the parts of two trees that the step looks at.
    fn changes(&self, trees: &TreePair) -> FileChanges;
}

/// Why steps of a build missed the cache, as far as `earlier` builds (the newest first) can tell. Steps that did not
/// run are explained if others follow from them.
pub fn explain(
    now: &BuildFacts,
    earlier: &[Earlier<'_>],
    files: &dyn FileComparison,
) -> Vec<Explanation> {
    let comparisons = earlier
        .iter()
        .map(|earlier| (earlier.build, Comparison::new(now, earlier.facts)));
    let comparisons = comparisons.filter(|(_, comparison)| comparison.are_kin());
    let mut account = Accounting {
        now,
        comparisons: comparisons.collect(),
        files,
        trees_left: MOST_TREES,
        explained: BTreeMap::new(),
    };
    let missed = now
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.is_miss());
    for step in missed.map(|(step, _)| step).collect::<Vec<_>>() {
        account.add(step);
    }
    account.finish()
}

struct Accounting<'a> {
    now: &'a BuildFacts,
    comparisons: Vec<(&'a str, Comparison<'a>)>,
    files: &'a dyn FileComparison,
    trees_left: usize,
    explained: BTreeMap<usize, Explanation>,
}

/// The earlier step that is the nearest to one.
struct Nearest {
    comparison: usize,
    partner: usize,
    differences: Vec<Difference>,
}

impl Accounting<'_> {
    fn add(&mut self, step: usize) {
        let nearest = self.nearest(step);
        let comparison = nearest.as_ref().map(|nearest| nearest.comparison);
        let explanation = self.explanation(step, nearest);
        let mut open = followed(&explanation.causes);
        self.explained.insert(step, explanation);
        // What did not run itself is told by the same comparison.
        while let Some(other) = open.pop() {
            if self.explained.contains_key(&other) || self.now.steps[other].is_miss() {
                continue;
            }
            let nearest = comparison.and_then(|comparison| self.in_comparison(comparison, other));
            let explanation = self.explanation(other, nearest);
            open.extend(followed(&explanation.causes));
            self.explained.insert(other, explanation);
        }
    }

    fn in_comparison(&self, comparison: usize, step: usize) -> Option<Nearest> {
        let (_, with) = &self.comparisons[comparison];
        let partner = with.pairs.earlier_of[step]?;
        Some(Nearest {
            comparison,
            partner,
            differences: with.of(step, partner),
        })
    }

    /// The one with the fewest differences of its own, then the one with the fewest others, then the newest.
    fn nearest(&self, step: usize) -> Option<Nearest> {
        let all = (0..self.comparisons.len()).filter_map(|index| self.in_comparison(index, step));
        all.min_by_key(|nearest| {
            let own = nearest.differences.iter();
            let own = own
                .filter(|it| !matches!(it, Difference::Follows(_)))
                .count();
            let outcome = self.partner_outcome(nearest);
            (
                own,
                nearest.differences.len(),
                Reverse(outcome.is_complete()),
                nearest.comparison,
            )
        })
    }

    fn partner_outcome(&self, nearest: &Nearest) -> Outcome {
        self.comparisons[nearest.comparison].1.earlier.steps[nearest.partner].outcome
    }

    fn explanation(&mut self, step: usize, nearest: Option<Nearest>) -> Explanation {
        let facts = &self.now.steps[step];
        let compared = nearest.as_ref().map(|nearest| {
            let (build, with) = &self.comparisons[nearest.comparison];
            Compared {
                build: (*build).to_owned(),
                name: words::shown(&with.earlier.steps[nearest.partner].name),
            }
        });
        let mut causes = match nearest {
            _ if facts.cache == CacheUse::Off => vec![self.cache_off()],
            _ if facts.outcome == Outcome::RanForLost => vec![Cause::Lost],
            None if self.comparisons.is_empty() => vec![Cause::FirstBuild],
            None => vec![Cause::New],
            Some(nearest) if nearest.differences.is_empty() => vec![self.without(step, &nearest)],
            Some(nearest) => self.causes(step, nearest.differences),
        };
        if let [Cause::FirstBuild | Cause::New | Cause::Gone] = causes.as_slice() {
            let failed = self.now.unusable_imports.iter();
            causes.extend(failed.map(|import| Cause::ImportFailed {
                cache: import.name.clone(),
                why: import.reason.clone(),
            }));
        }
        Explanation {
            step,
            name: words::shown(&facts.name),
            outcome: facts.outcome,
            compared,
            causes,
            root: None,
        }
    }

    fn cache_off(&self) -> Cause {
        let option = match self.now.options.get("no-cache") {
            Some(stages) if !stages.is_empty() => format!("no-cache={stages}"),
            _ => "--no-cache".to_owned(),
        };
        Cause::CacheOff { option }
    }

    /// Why a step ran that is the same as before.
    fn without(&self, step: usize, nearest: &Nearest) -> Cause {
        let facts = &self.now.steps[step];
        let mut inputs = facts.inputs.iter().enumerate();
        let is_of_session = inputs.any(|(input, source)| {
            let is_seen = facts.contents.iter().any(|content| content.input == input);
            self.now.steps[*source].kind == StepKind::Local && !is_seen
        });
        match self.partner_outcome(nearest).is_complete() {
            _ if is_of_session => Cause::Session,
            true => Cause::Gone,
            false => Cause::Unfinished,
        }
    }

    fn causes(&mut self, step: usize, differences: Vec<Difference>) -> Vec<Cause> {
        let mut causes = Vec::new();
        for difference in differences {
            let cause = match difference {
                Difference::Said(cause) => cause,
                Difference::Follows(step) => Cause::Follows { step },
                Difference::Saw { input, before, now } => self.files(TreePair {
                    step,
                    input,
                    before,
                    now,
                }),
            };
            if causes.len() < MOST_CAUSES && !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        causes
    }

    fn files(&mut self, trees: TreePair) -> Cause {
        let source = self.now.steps[trees.step].inputs.get(trees.input);
        let source = source.map(|source| &self.now.steps[*source]);
        let mut changes = match self.trees_left {
            0 => FileChanges::No { paths: Vec::new() },
            _ => self.files.changes(&trees),
        };
        self.trees_left = self.trees_left.saturating_sub(1);
        if source.is_some_and(|source| source.kind == StepKind::Local)
            && let FileChanges::Yes { first, .. } = &mut changes
        {
            for change in first.iter_mut().filter(|change| change.path.len() > 1) {
                change.path = change.path.trim_start_matches('/').to_owned();
            }
        }
        Cause::Files {
            from: source.map_or_else(String::new, |source| words::shown(&source.name)),
            changes,
        }
    }

    /// Fills in with which steps it all began: inputs come first.
    fn finish(mut self) -> Vec<Explanation> {
        let steps: Vec<usize> = self.explained.keys().copied().collect();
        for step in steps {
            let root = self
                .explained
                .get(&step)
                .and_then(|it| match it.causes.as_slice() {
                    [Cause::Follows { step }, ..] => Some(*step),
                    [Cause::Files { .. }, Cause::Follows { step }, ..] => Some(*step),
                    _ => None,
                });
            let root = root.map(|root| {
                let beyond = self.explained.get(&root).and_then(|it| it.root);
                beyond.unwrap_or(root)
            });
            if let Some(explanation) = self.explained.get_mut(&step) {
                explanation.root = root;
            }
        }
        self.explained.into_values().collect()
    }
}

fn followed(causes: &[Cause]) -> Vec<usize> {
    let followed = causes.iter().filter_map(|cause| match cause {
        Cause::Follows { step } => Some(*step),
        _ => None,
    });
    followed.collect()
}
