//! One rule: which sources it is for, and what becomes of them.

use std::collections::BTreeMap;

use kiln_protocol::pb;
use kiln_protocol::sourcepolicy::{PolicyAction, Rule as Wire, Update};

use super::PolicyError;
use super::selector::Selector;

/// A rule that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) selector: Selector,
    pub(super) verdict: Verdict,
}

/// What becomes of a source.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Allow,
    Deny,
    Replace(Replacement),
}

/// What to use instead of a source.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    /// The new identifier, with `$1` for what the first star of the selector stood for.
    template: String,
    /// Attributes to set, beside those that are there.
    attributes: BTreeMap<String, String>,
}

impl Rule {
    pub(super) fn read(wire: &Wire) -> Result<Self, PolicyError> {
        let selector = wire.selector.as_ref().ok_or(PolicyError::NoSelector)?;
        let identifier = &selector.identifier;
        let verdict = match PolicyAction::try_from(wire.action) {
            Ok(PolicyAction::Allow) => Verdict::Allow,
            Ok(PolicyAction::Deny) => Verdict::Deny,
            Ok(PolicyAction::Convert) => match &wire.updates {
                Some(update) => Verdict::Replace(Replacement::new(update, identifier)),
                None => return Err(PolicyError::NoReplacement(identifier.clone())),
            },
            Err(_) => {
                return Err(PolicyError::Unknown {
                    selector: identifier.clone(),
                    what: "action",
                    number: wire.action,
                });
            }
        };
        Ok(Self {
            selector: Selector::read(selector)?,
            verdict,
        })
    }
}

impl Replacement {
    fn new(update: &Update, selector: &str) -> Self {
        let template = match update.identifier.as_str() {
            "" => selector,
            identifier => identifier,
        };
        Self {
            template: template.to_owned(),
            attributes: update.attrs.clone(),
        }
    }

    /// Whether anything changed.
    pub(super) fn apply(&self, selector: &Selector, source: &mut pb::SourceOp) -> bool {
        let before = source.clone();
        let identifier = selector.fill(&self.template, &source.identifier);
        if !identifier.is_empty() {
            source.identifier = identifier;
        }
        source.attrs.extend(self.attributes.clone());
        *source != before
    }
}
