//! Numbers of the kernel by their names in provenance.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::pressure::Pressure;

/// How a line of a file of the kernel is called in provenance.
pub(super) struct Name {
    pub(super) kernel: &'static str,
    pub(super) json: &'static str,
    /// One of the kernel's units in those of provenance.
    pub(super) factor: u64,
}

/// A number that has the same unit in provenance.
pub(super) const fn plain(kernel: &'static str, json: &'static str) -> Name {
    Name {
        kernel,
        json,
        factor: 1,
    }
}

/// Numbers by their names in provenance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counters {
    values: Vec<(&'static str, u64)>,
    pressure: Option<Pressure>,
}

impl Counters {
    /// Adds those of a file with a name and a number in each line.
    pub(super) fn add_lines(&mut self, text: &str, names: &[Name]) {
        for name in names {
            let mut lines = text.lines().filter_map(|line| line.split_once([' ', ':']));
            let value = lines.find_map(|(key, value)| (key == name.kernel).then_some(value));
            // Some are followed by their unit.
            let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
            if let Some(number) = number {
                self.add(name, number);
            }
        }
    }

    /// Adds a number to one of the same name.
    pub(super) fn add(&mut self, name: &Name, number: u64) {
        let number = number.saturating_mul(name.factor);
        match self.values.iter_mut().find(|(json, _)| *json == name.json) {
            Some((_, sum)) => *sum = sum.saturating_add(number),
            None => self.values.push((name.json, number)),
        }
    }

    pub(super) fn with_pressure(self, pressure: Option<Pressure>) -> Self {
        Self { pressure, ..self }
    }

    /// The number of a name.
    pub fn get(&self, name: &str) -> Option<u64> {
        let mut values = self.values.iter();
        values.find_map(|(json, value)| (*json == name).then_some(*value))
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.values {
            map.serialize_entry(name, value)?;
        }
        if let Some(pressure) = &self.pressure {
            map.serialize_entry("pressure", pressure)?;
        }
        map.end()
    }
}
