//! `--source-policy-file`: rules about where sources come from.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_protocol::sourcepolicy::{
    AttrConstraint, AttrMatch, MatchType, Policy, PolicyAction, Rule, Selector, Update,
};
use serde_json::Value;

use crate::failure::Failure;

/// Reads a policy.
pub(super) fn read(file: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    parse(&text).map_err(|reason| {
        Failure::usage(format!(
            "failed to unmarshal source-policy-file {:?}: {reason}",
            file.display().to_string()
        ))
    })
}

fn parse(text: &[u8]) -> Result<Policy, String> {
    let policy: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let policy = Object::of(&policy, "policy", &["version", "rules"])?;
    Ok(Policy {
        version: policy.number("version")?,
        rules: policy.list("rules", rule)?,
    })
}

fn rule(value: &Value) -> Result<Rule, String> {
    let rule = Object::of(value, "rule", &["action", "selector", "updates"])?;
    Ok(Rule {
        action: rule.choice("action", |name| {
            PolicyAction::from_str_name(name).map(Into::into)
        })?,
        selector: rule.get("selector").map(selector).transpose()?,
        updates: rule.get("updates").map(update).transpose()?,
    })
}

fn selector(value: &Value) -> Result<Selector, String> {
    let known = ["identifier", "match_type", "matchType", "constraints"];
    let selector = Object::of(value, "selector", &known)?;
    let key = match selector.get("matchType") {
        Some(_) => "matchType",
        None => "match_type",
    };
    Ok(Selector {
        identifier: selector.text("identifier")?,
        match_type: selector.choice(key, |name| MatchType::from_str_name(name).map(Into::into))?,
        constraints: selector.list("constraints", constraint)?,
    })
}

fn constraint(value: &Value) -> Result<AttrConstraint, String> {
    let constraint = Object::of(value, "constraint", &["key", "value", "condition"])?;
    Ok(AttrConstraint {
        key: constraint.text("key")?,
        value: constraint.text("value")?,
        condition: constraint.choice("condition", |name| {
            AttrMatch::from_str_name(name).map(Into::into)
        })?,
    })
}

fn update(value: &Value) -> Result<Update, String> {
    let update = Object::of(value, "updates", &["identifier", "attrs"])?;
    let attributes = update.get("attrs").and_then(Value::as_object);
    let attributes = attributes.into_iter().flatten().map(|(key, value)| {
        let value = value
            .as_str()
            .ok_or_else(|| format!("attrs: {key} is not a text"))?;
        Ok((key.clone(), value.to_owned()))
    });
    Ok(Update {
        identifier: update.text("identifier")?,
        attrs: attributes.collect::<Result<BTreeMap<_, _>, String>>()?,
    })
}

/// An object with known keys; a rule with a misspelt key would allow what it
/// should deny.
struct Object<'a> {
    what: &'static str,
    fields: &'a serde_json::Map<String, Value>,
}

impl<'a> Object<'a> {
    fn of(value: &'a Value, what: &'static str, known: &[&str]) -> Result<Self, String> {
        let fields = value
            .as_object()
            .ok_or_else(|| format!("{what} is not an object"))?;
        match fields.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(format!(
                "{what} has no field {key:?} (known: {})",
                known.join(", ")
            )),
            None => Ok(Self { what, fields }),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<String, String> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("{}: {key} is not a text", self.what)),
        }
    }

    fn number(&self, key: &str) -> Result<i64, String> {
        match self.get(key) {
            None => Ok(0),
            Some(value) => value
                .as_i64()
                .ok_or_else(|| format!("{}: {key} is not a number", self.what)),
        }
    }

    fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(read).collect(),
            Some(_) => Err(format!("{}: {key} is not a list", self.what)),
        }
    }

    /// A choice by name or by its number.
    fn choice(&self, key: &str, named: impl Fn(&str) -> Option<i32>) -> Result<i32, String> {
        let wrong = |value: &Value| format!("{}: unknown {key} {value}", self.what);
        match self.get(key) {
            None => Ok(0),
            Some(Value::String(name)) => {
                named(name).ok_or_else(|| wrong(&Value::from(name.as_str())))
            }
            Some(value) => {
                let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
                number.ok_or_else(|| wrong(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let policy = parse(
            br#"{"version":1,"rules":[
                {"action":"DENY","selector":{"identifier":"docker-image://*"}},
                {"action":2,"selector":{"identifier":"a","matchType":"REGEX",
                 "constraints":[{"key":"k","value":"v","condition":"NOTEQUAL"}]},
                 "updates":{"identifier":"b","attrs":{"http.checksum":"sha256:1"}}}]}"#,
        )
        .unwrap();
        assert_eq!(policy.version, 1);
        assert_eq!(policy.rules[0].action(), PolicyAction::Deny);
        let second = &policy.rules[1];
        assert_eq!(second.action(), PolicyAction::Convert);
        let selector = second.selector.as_ref().unwrap();
        assert_eq!(selector.match_type(), MatchType::Regex);
        assert_eq!(selector.constraints[0].condition(), AttrMatch::Notequal);
        assert_eq!(
            second.updates.as_ref().unwrap().attrs["http.checksum"],
            "sha256:1"
        );
    }

    #[test]
    fn wrong_policies_are_explained() {
        for (text, expected) in [
            ("[]", "policy is not an object"),
            (r#"{"rule":[]}"#, "policy has no field \"rule\""),
            (r#"{"rules":{}}"#, "policy: rules is not a list"),
            (
                r#"{"rules":[{"action":"NO"}]}"#,
                "rule: unknown action \"NO\"",
            ),
            (
                r#"{"rules":[{"selector":{"identifier":1}}]}"#,
                "selector: identifier is not a text",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
