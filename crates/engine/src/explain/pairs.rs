//! Which step of one build is which of another.

use std::collections::HashMap;
use std::hash::Hash;

use super::facts::{BuildFacts, StepFacts, StepKind};

/// Which step of one build is which of another, both ways.
pub(super) struct Pairs {
    pub(super) earlier_of: Vec<Option<usize>>,
    pub(super) now_of: Vec<Option<usize>>,
}

/// Where a step stands: `[build 2/4] RUN make` is the second one of stage `build`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Slot<'a> {
    stage: &'a str,
    kind: StepKind,
}

/// A step with its place.
struct Placed<'a> {
    step: &'a StepFacts,
    slot: Slot<'a>,
    position: Option<usize>,
}

impl<'a> Placed<'a> {
    fn new(step: &'a StepFacts) -> Self {
        let (stage, position) = place(&step.name);
        let slot = Slot {
            stage,
            kind: step.kind,
        };
        Self {
            step,
            slot,
            position,
        }
    }
}

/// The stage and the number in a step's name.
fn place(name: &str) -> (&str, Option<usize>) {
    let label = name.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let Some((label, _)) = label else {
        return ("", None);
    };
    let (stage, number) = label.rsplit_once(' ').unwrap_or(("", label));
    let position = number
        .split_once('/')
        .and_then(|(number, _)| number.parse().ok());
    match position {
        // Numbers are aligned: `[ 1/10]`.
        Some(position) => (stage.trim_end(), Some(position)),
        None => (label, None),
    }
}

/// Pairs the steps of two builds: equal ones first, then those in the same place.
pub(super) fn pair(now: &BuildFacts, earlier: &BuildFacts) -> Pairs {
    let sides = Sides {
        now: now.steps.iter().map(Placed::new).collect(),
        earlier: earlier.steps.iter().map(Placed::new).collect(),
    };
    let mut pairs = Pairs {
        earlier_of: vec![None; now.steps.len()],
        now_of: vec![None; earlier.steps.len()],
    };
    sides.equal(&mut pairs, |placed| Some(placed.step.digest.as_str()));
    sides.equal(&mut pairs, |placed| {
        Some((&placed.slot, &placed.step.facts))
    });
    sides.equal(&mut pairs, |placed| Some((&placed.slot, placed.position?)));
    sides.alike(&mut pairs);
    sides.equal(&mut pairs, |placed| {
        Some((placed.slot.kind, &placed.step.facts))
    });
    pairs
}

struct Sides<'a> {
    now: Vec<Placed<'a>>,
    earlier: Vec<Placed<'a>>,
}

impl Pairs {
    fn join(&mut self, now: usize, earlier: usize) {
        self.earlier_of[now] = Some(earlier);
        self.now_of[earlier] = Some(now);
    }
}

impl<'a> Sides<'a> {
    /// Pairs steps that agree in something, in their order.
    fn equal<'b, K: Hash + Eq>(
        &'b self,
        pairs: &mut Pairs,
        of: impl Fn(&'b Placed<'a>) -> Option<K>,
    ) {
        let mut open: HashMap<K, Vec<usize>> = HashMap::new();
        for (index, placed) in self.earlier.iter().enumerate().rev() {
            if let Some(key) = of(placed).filter(|_| pairs.now_of[index].is_none()) {
                open.entry(key).or_default().push(index);
            }
        }
        for (index, placed) in self.now.iter().enumerate() {
            if pairs.earlier_of[index].is_none()
                && let Some(other) = of(placed).and_then(|key| open.get_mut(&key)?.pop())
            {
                pairs.join(index, other);
            }
        }
    }

    /// Pairs what is left over in the same stage, if it says the same for the most part.
    fn alike(&self, pairs: &mut Pairs) {
        let mut open: HashMap<&Slot<'a>, Vec<usize>> = HashMap::new();
        for (index, placed) in self.earlier.iter().enumerate() {
            if pairs.now_of[index].is_none() {
                open.entry(&placed.slot).or_default().push(index);
            }
        }
        for (index, placed) in self.now.iter().enumerate() {
            let candidates = open.get_mut(&placed.slot);
            let Some(candidates) = candidates.filter(|_| pairs.earlier_of[index].is_none()) else {
                continue;
            };
            let mut steps = candidates.iter().map(|other| self.earlier[*other].step);
            if let Some(at) = steps.position(|step| resemble(placed.step, step)) {
                pairs.join(index, candidates.remove(at));
            }
        }
    }
}

/// Whether what two steps say first is the same: their command, action or source.
fn resemble(one: &StepFacts, other: &StepFacts) -> bool {
    match (one.facts.first(), other.facts.first()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.name == other.name,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn names_say_where_steps_stand() {
        for (name, stage, position) in [
            ("[2/3] COPY src /src", "", Some(2)),
            ("[build  2/10] RUN make", "build", Some(2)),
            (
                "[linux/amd64 build 2/4] RUN make",
                "linux/amd64 build",
                Some(2),
            ),
            ("[internal] load build context", "internal", None),
            ("RUN make", "", None),
            ("[", "", None),
        ] {
            let found = place(name);
            assert_eq!(found, (stage, position), "{name}");
        }
    }
}
