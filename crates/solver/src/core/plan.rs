//! What an edge may conclude from its inputs, and what it should ask of them.
//! Pure functions of one edge; all waiting has been done before.

use std::collections::BTreeSet;

use super::edge::{Content, Dep, Edge, Reach};
use crate::key::Record;

impl<T, E: std::error::Error + 'static> Edge<T, E> {
    /// Whether the op can key this input by content.
    pub(crate) fn by_content(&self, index: usize) -> bool {
        self.map
            .as_ref()
            .and_then(|map| map.deps.get(index))
            .is_some_and(|dep| dep.content)
    }

    /// Whether further cache maps may come.
    pub(crate) fn more_maps(&self) -> bool {
        self.map
            .as_ref()
            .is_none_or(|map| map.more && self.deps.is_empty())
    }

    fn content_known(&self, index: usize) -> bool {
        matches!(self.deps[index].content, Content::Probed(_))
    }

    /// The input has told all its keys, and only its content could lead on.
    fn content_outstanding(&self, index: usize) -> bool {
        self.by_content(index)
            && !self.content_known(index)
            && self.deps[index].reach >= Reach::Content
    }

    /// Whether nothing that this input can still tell leads to a match.
    fn exhausted(&self, index: usize) -> bool {
        if self.by_content(index) {
            self.content_known(index)
        } else {
            self.deps[index].reach >= Reach::Content
        }
    }

    /// Whether the caches cannot have a result, as one input matches nothing.
    pub(crate) fn hopeless(&self) -> bool {
        self.map.is_some()
            && self
                .each()
                .any(|(i, dep)| dep.matches.is_empty() && self.exhausted(i))
    }

    /// Whether all that execution needs to know is known.
    pub(crate) fn inputs_complete(&self) -> bool {
        self.map.is_some()
            && !self.more_maps()
            && self.each().all(|(i, dep)| {
                dep.output.is_some() && (!self.by_content(i) || self.content_known(i))
            })
    }

    fn each(&self) -> impl Iterator<Item = (usize, &Dep<T>)> {
        self.deps.iter().enumerate()
    }

    /// The record to load first.
    pub(crate) fn best_candidate(&self) -> Option<&Record> {
        self.candidates.iter().min_by_key(|record| record.rank())
    }

    /// How far the edge has come, judged by its inputs.
    pub(crate) fn judge_reach(&self) -> Reach {
        if self.map.is_none() {
            return Reach::Nothing;
        }
        if self.deps.is_empty() {
            let waiting = self.keys.is_empty() && self.more_maps();
            return if waiting {
                Reach::Nothing
            } else {
                Reach::Content
            };
        }
        // An input without match decides for all: no key can come of what it knows.
        let decided = self
            .each()
            .filter(|(i, dep)| dep.matches.is_empty() && !self.content_outstanding(*i))
            .map(|(_, dep)| dep.reach.min(Reach::Content))
            .max()
            .unwrap_or_default();
        // Otherwise the slowest input counts.
        let slowest = self
            .each()
            .map(|(i, dep)| {
                let held_back = self.content_outstanding(i);
                if held_back {
                    Reach::Definition
                } else {
                    dep.reach.min(Reach::Content)
                }
            })
            .min()
            .unwrap_or_default();
        let reach = decided.max(slowest);
        if reach == Reach::Definition && self.found_enough() {
            Reach::Content
        } else {
            reach
        }
    }

    /// Whether a result is at hand and no other key is half found. Then it is
    /// not worth evaluating inputs for the sake of keys from content.
    fn found_enough(&self) -> bool {
        if self.candidates.is_empty() {
            return false;
        }
        let mut half_found: Option<BTreeSet<&String>> = None;
        for (i, dep) in self.each() {
            if self.content_outstanding(i) {
                continue;
            }
            let open = dep.matches.keys().filter(|id| !self.joined.contains(*id));
            half_found = Some(match half_found {
                None => open.collect(),
                Some(before) => open.filter(|id| before.contains(id)).collect(),
            });
        }
        half_found.is_none_or(|ids| ids.is_empty())
    }

    /// Looks over all inputs once.
    pub(crate) fn survey(&self) -> Survey {
        let mut survey = Survey {
            hopeless: self.candidates.is_empty() && self.hopeless(),
            all_at_definition: true,
            all_lead_on: true,
            all_keys_known: true,
            unmatched_unevaluated: false,
            unmatched_with_open_keys: false,
        };
        for (i, dep) in self.each() {
            let unmatched = dep.matches.is_empty();
            let content_open = self.by_content(i) && !self.content_known(i);
            let evaluated = if self.by_content(i) {
                self.content_known(i)
            } else {
                dep.reach == Reach::Result
            };
            survey.all_at_definition &= dep.reach >= Reach::Definition;
            survey.all_lead_on &= !unmatched || dep.output.is_some();
            survey.all_keys_known &= dep.reach >= Reach::Content && !content_open;
            survey.unmatched_unevaluated |= unmatched && !evaluated;
            survey.unmatched_with_open_keys |=
                unmatched && (content_open || dep.reach < Reach::Content);
        }
        survey
    }

    /// What to ask of an input, given what is asked of this edge.
    pub(crate) fn wish(&self, index: usize, demand: Reach, survey: &Survey) -> Reach {
        let dep = &self.deps[index];
        if demand == Reach::Result && survey.hopeless {
            return Reach::Result;
        }
        match dep.reach {
            Reach::Nothing => Reach::Definition,
            Reach::Definition
                if demand > Reach::Definition && self.wants_content_keys(index, survey) =>
            {
                Reach::Content
            }
            Reach::Content if self.wants_result(index, demand, survey) => Reach::Result,
            reach => reach,
        }
    }

    /// An input knows its definition keys: should it go on to find all keys?
    /// If it matches something it waits for inputs that match nothing yet: if
    /// they never do, its keys are of no use.
    fn wants_content_keys(&self, index: usize, survey: &Survey) -> bool {
        let unmatched = self.deps[index].matches.is_empty();
        let may_help = (survey.all_at_definition && self.keys.is_empty()) || survey.all_lead_on;
        self.map.is_some() && (unmatched || (!survey.unmatched_unevaluated && may_help))
    }

    /// An input knows all its keys: should it be evaluated?
    fn wants_result(&self, index: usize, demand: Reach, survey: &Survey) -> bool {
        let unmatched = self.deps[index].matches.is_empty();
        let content_open = self.by_content(index) && !self.content_known(index);
        let turn = unmatched || !content_open || !survey.unmatched_with_open_keys;
        match demand {
            Reach::Result => {
                let due = unmatched
                    || survey.all_keys_known
                    || (self.by_content(index) && !survey.unmatched_unevaluated);
                self.candidates.is_empty() && turn && due
            }
            Reach::Content => content_open && turn,
            Reach::Nothing | Reach::Definition => false,
        }
    }
}

/// What the inputs of an edge have in common.
#[derive(Debug)]
pub(crate) struct Survey {
    /// See [`Edge::hopeless`]; false while there is something to load.
    hopeless: bool,
    all_at_definition: bool,
    /// Every input matches something, or is evaluated.
    all_lead_on: bool,
    all_keys_known: bool,
    /// Some input matches nothing, but might once it is evaluated.
    unmatched_unevaluated: bool,
    /// Some input matches nothing, but might by keys that are not known yet.
    unmatched_with_open_keys: bool,
}
