//! Source policies: rules that allow, deny or replace what a build takes its files from
//! (`moby.buildkit.v1.sourcepolicy`).

mod error;
mod rewrite;
mod rule;
mod selector;

use kiln_protocol::{pb, sourcepolicy as wire};

pub use error::PolicyError;
use rule::{Rule, Verdict};

/// A source may be replaced so many times before its policies are taken to run in circles; the
/// protocol's own number.
const MAX_CHANGES: usize = 21;

/// Policies that hold together: a source that any of them denies is denied.
#[derive(Clone, Debug, Default)]
pub struct Policies(Vec<Vec<Rule>>);

/// Whether a policy replaced a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The source is allowed as it is.
    Kept,
    /// The source was replaced, and the new one is allowed.
    Replaced,
}

impl Policies {
    /// Reads policies; what is wrong with any rule is found here, whether or not it ever matches.
    pub fn read<'a>(
        policies: impl IntoIterator<Item = &'a wire::Policy>,
    ) -> Result<Self, PolicyError> {
        let rules = |policy: &wire::Policy| policy.rules.iter().map(Rule::read).collect();
        policies
            .into_iter()
            .map(rules)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// These and then `further`.
    pub fn followed_by(&self, further: Self) -> Self {
        Self(self.0.iter().cloned().chain(further.0).collect())
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// Judges a source. Each replacement is judged anew, from the first policy on.
    pub fn judge(&self, source: &mut pb::SourceOp) -> Result<Outcome, PolicyError> {
        let mut outcome = Outcome::Kept;
        for _ in 0..MAX_CHANGES {
            if !self.replace(source)? {
                return Ok(outcome);
            }
            outcome = Outcome::Replaced;
        }
        Err(PolicyError::Circles)
    }

    /// Whether a policy replaced the source; those after it have not seen it then.
    fn replace(&self, source: &mut pb::SourceOp) -> Result<bool, PolicyError> {
        for rules in &self.0 {
            if replace(rules, source)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// One policy: of the rules that allow or deny a source the last one counts, but one that replaces
/// it ends the matter.
fn replace(rules: &[Rule], source: &mut pb::SourceOp) -> Result<bool, PolicyError> {
    let mut is_denied = false;
    for rule in rules {
        if !rule.selector.matches(source) {
            continue;
        }
        match &rule.verdict {
            Verdict::Allow => is_denied = false,
            Verdict::Deny => is_denied = true,
            Verdict::Replace(replacement) => {
                if replacement.apply(&rule.selector, source) {
                    return Ok(true);
                }
            }
        }
    }
    match is_denied {
        true => Err(PolicyError::Denied(source.identifier.clone())),
        false => Ok(false),
    }
}
