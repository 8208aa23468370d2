//! Reading typed values out of a map of strings.

use std::collections::BTreeMap;

use super::{EpochOption, OptionError};

/// The keys of one output, taken out one by one; what is left in the end is unknown.
pub(crate) struct Attributes {
    kind: String,
    rest: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Attributes {
    pub(crate) fn new(kind: &str, attributes: &BTreeMap<String, String>) -> Self {
        Self {
            kind: kind.to_owned(),
            rest: attributes.clone(),
            known: Vec::new(),
        }
    }

    /// Takes a key's text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        self.rest.remove(key)
    }

    /// Takes a boolean; a key without a value is true.
    pub(crate) fn switch(&mut self, key: &'static str) -> Result<Option<bool>, OptionError> {
        self.text(key).map(|text| switch(key, &text)).transpose()
    }

    /// Takes a boolean that may only be given as `idle`, because the other value is not acted on yet.
    pub(crate) fn refuse_unless(
        &mut self,
        key: &'static str,
        idle: bool,
    ) -> Result<(), OptionError> {
        match self.switch(key)? {
            Some(value) if value != idle => Err(OptionError::not_yet(format!("{key}={value}"))),
            _ => Ok(()),
        }
    }

    /// Takes every key that `wanted` turns into something.
    pub(crate) fn drain<T>(
        &mut self,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Vec<(T, String)> {
        let mut taken = Vec::new();
        self.rest.retain(|key, value| match wanted(key) {
            Some(parsed) => {
                taken.push((parsed, std::mem::take(value)));
                false
            }
            None => true,
        });
        taken
    }

    /// Takes `source-date-epoch`.
    pub(crate) fn epoch(&mut self) -> Result<EpochOption, OptionError> {
        const KEY: &str = "source-date-epoch";
        match self.text(KEY).as_deref() {
            None => Ok(EpochOption::Inherit),
            Some("") => Ok(EpochOption::Off),
            Some(text) => text
                .parse()
                .map(EpochOption::At)
                .map_err(|_| OptionError::NotInteger {
                    key: KEY.into(),
                    value: text.to_owned(),
                }),
        }
    }

    /// The map as it is now.
    pub(crate) fn remaining(&self) -> &BTreeMap<String, String> {
        &self.rest
    }

    /// Forgets keys that were read from [`Self::remaining`].
    pub(crate) fn discard(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.text(key);
        }
    }

    /// The keys that are left.
    pub(crate) fn unknown(self) -> Vec<OptionError> {
        let known = || self.known.iter().copied();
        let left = self.rest.keys();
        left.map(|key| OptionError::unknown_key(&self.kind, key, known()))
            .collect()
    }
}

/// Reads a boolean in any of the field's spellings; nothing at all is true.
pub(crate) fn switch(key: &str, text: &str) -> Result<bool, OptionError> {
    match text {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(OptionError::NotBool {
            key: key.to_owned(),
            value: text.to_owned(),
        }),
    }
}

/// Reads a compression level between 0 and `highest`.
pub(crate) fn level(text: &str, algorithm: &'static str, highest: i32) -> Result<i32, OptionError> {
    let level: i64 = text.parse().map_err(|_| OptionError::NotInteger {
        key: "compression-level".into(),
        value: text.to_owned(),
    })?;
    i32::try_from(level)
        .ok()
        .filter(|level| (0..=highest).contains(level))
        .ok_or(OptionError::Level {
            level,
            algorithm,
            highest,
        })
}
