//! Which sources a rule is for.

use kiln_protocol::pb;
use kiln_protocol::sourcepolicy::{AttrConstraint, AttrMatch, MatchType, Selector as Wire};
use regex::Regex;

use super::PolicyError;

/// A compiled selector.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub(super) identifier: String,
    pattern: Pattern,
    constraints: Vec<Constraint>,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// The identifier itself.
    Exact,
    /// Only a whole identifier matches.
    Wildcard(Regex),
    /// Any part of an identifier may match.
    Regex(Regex),
}

/// What an attribute has to be; one that is not there is an empty text.
#[derive(Clone, Debug)]
struct Constraint {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug)]
enum Condition {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

impl Selector {
    pub(super) fn read(wire: &Wire) -> Result<Self, PolicyError> {
        let identifier = wire.identifier.clone();
        let constraints = wire.constraints.iter();
        let constraints = constraints.map(|constraint| Constraint::read(&identifier, constraint));
        let constraints = constraints.collect::<Result<_, _>>()?;
        let pattern = match MatchType::try_from(wire.match_type) {
            Ok(MatchType::Exact) => Pattern::Exact,
            Ok(MatchType::Wildcard) => Pattern::Wildcard(wildcard(&identifier)?),
            Ok(MatchType::Regex) => Pattern::Regex(regex(&identifier)?),
            Err(_) => {
                return Err(PolicyError::Unknown {
                    selector: identifier,
                    what: "match type",
                    number: wire.match_type,
                });
            }
        };
        Ok(Self {
            identifier,
            pattern,
            constraints,
        })
    }

    pub(super) fn matches(&self, source: &pb::SourceOp) -> bool {
        self.constraints.iter().all(|it| it.holds(source))
            && (source.identifier == self.identifier
                || match &self.pattern {
                    Pattern::Exact => false,
                    Pattern::Wildcard(regex) | Pattern::Regex(regex) => {
                        regex.is_match(&source.identifier)
                    }
                })
    }

    /// `template` with what the stars and groups of the pattern stand for in `identifier` in place
    /// of `$1`, `${2}`, `${name}`.
    pub(super) fn fill(&self, template: &str, identifier: &str) -> String {
        match &self.pattern {
            Pattern::Exact => template.to_owned(),
            Pattern::Regex(regex) => regex.replace_all(identifier, template).into_owned(),
            Pattern::Wildcard(regex) => {
                let mut filled = String::new();
                match regex.captures(identifier) {
                    Some(captures) => captures.expand(template, &mut filled),
                    None => identifier.clone_into(&mut filled),
                }
                filled
            }
        }
    }
}

impl Constraint {
    fn read(selector: &str, wire: &AttrConstraint) -> Result<Self, PolicyError> {
        let value = wire.value.clone();
        let condition = match AttrMatch::try_from(wire.condition) {
            Ok(AttrMatch::Equal) => Condition::Equal(value),
            Ok(AttrMatch::Notequal) => Condition::NotEqual(value),
            Ok(AttrMatch::Matches) => Condition::Matches(regex(&value)?),
            Err(_) => {
                return Err(PolicyError::Unknown {
                    selector: selector.to_owned(),
                    what: "attr condition",
                    number: wire.condition,
                });
            }
        };
        Ok(Self {
            key: wire.key.clone(),
            condition,
        })
    }

    fn holds(&self, source: &pb::SourceOp) -> bool {
        let value = source.attrs.get(&self.key).map_or("", String::as_str);
        match &self.condition {
            Condition::Equal(expected) => value == expected,
            Condition::NotEqual(expected) => value != expected,
            Condition::Matches(regex) => regex.is_match(value),
        }
    }
}

/// A text in which each star stands for anything.
fn wildcard(pattern: &str) -> Result<Regex, PolicyError> {
    if pattern.contains("**") {
        return Err(PolicyError::Wildcard(pattern.to_owned()));
    }
    let parts = pattern.split('*').map(regex::escape).collect::<Vec<_>>();
    regex(&format!("^{}$", parts.join("(.*)")))
}

fn regex(pattern: &str) -> Result<Regex, PolicyError> {
    Regex::new(pattern).map_err(|source| PolicyError::Regex {
        pattern: pattern.to_owned(),
        source: Box::new(source),
    })
}
