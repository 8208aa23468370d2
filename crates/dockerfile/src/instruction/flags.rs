//! The `--name=value` flags of an instruction.

use super::InstructionError;
use crate::suggest::{Casing, closest};

/// What a flag holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A truth value; the bare flag means true.
    Bool,
    /// One value.
    Value,
    /// A value each time it is given.
    Values,
}

/// The flags an instruction was given, checked against those it has.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<(&'static str, String)>,
}

impl Flags {
    /// Checks `words`, each of which starts with `--`, against the instruction's flags.
    pub(super) fn read(
        words: &[String],
        known: &[(&'static str, Holds)],
    ) -> Result<Self, InstructionError> {
        let mut flags = Self::default();
        for word in words {
            let word = word.strip_prefix("--").unwrap_or(word);
            let (name, value) = word
                .split_once('=')
                .map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(&(known_name, holds)) = known.iter().find(|(known, _)| *known == name) else {
                let suggestion =
                    closest(name, known.iter().map(|(name, _)| *name), Casing::Sensitive);
                return Err(InstructionError::UnknownFlag {
                    flag: name.to_owned(),
                    suggestion,
                });
            };
            if holds != Holds::Values && flags.value(known_name).is_some() {
                return Err(InstructionError::DuplicateFlag {
                    flag: name.to_owned(),
                });
            }
            let value = match holds {
                Holds::Bool => read_bool(name, value)?.to_string(),
                Holds::Value | Holds::Values => {
                    value.ok_or_else(|| without_value(name))?.to_owned()
                }
            };
            flags.given.push((known_name, value));
        }
        Ok(flags)
    }

    /// The value of a flag, if it was given.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// The value of a flag, empty if it was not given.
    pub(super) fn text(&self, name: &str) -> String {
        self.value(name).unwrap_or_default().to_owned()
    }

    /// The truth value of a flag, if it was given.
    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }

    /// All values of a flag, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }
}

fn read_bool(name: &str, value: Option<&str>) -> Result<bool, InstructionError> {
    let Some(value) = value else { return Ok(true) };
    match value.to_lowercase().as_str() {
        "" => Err(without_value(name)),
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(InstructionError::FlagNotBool {
            flag: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

fn without_value(name: &str) -> InstructionError {
    InstructionError::FlagWithoutValue {
        flag: name.to_owned(),
    }
}
