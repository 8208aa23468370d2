//! Where expansion looks variables up.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// A set of variables.
pub trait Variables {
    /// The value of a variable that is set.
    fn get(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// No variables at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

impl Variables for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

/// Pairs in order; the last one of a name counts.
impl Variables for [(String, String)] {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| Cow::Borrowed(value.as_str()))
    }
}

/// `NAME=value` strings as image configurations have them; the last one of a name counts.
impl Variables for [String] {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().rev().find_map(|assignment| {
            let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
            (key == name).then_some(Cow::Borrowed(value))
        })
    }
}
