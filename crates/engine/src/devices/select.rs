//! Which devices a step means.

use std::collections::BTreeSet;

use kiln_llb::pb::CdiDevice;

use super::{CLASS, Devices, invalid};
use crate::error::BuildError;

/// How many files that cannot be used are told of where a device is missing.
const TOLD: usize = 3;

impl Devices {
    /// Full names of what is asked for, each once, in the order in which they are asked for.
    pub(super) fn find(&self, asked: &[CdiDevice]) -> Result<Vec<String>, BuildError> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for device in asked {
            let named = self.named(&device.name);
            if named.is_empty() {
                if !device.optional {
                    return Err(self.missing(&device.name));
                }
                tracing::warn!(device = %device.name, "optional device is not registered");
            }
            found.extend(named.into_iter().filter(|it| seen.insert(*it)));
        }
        Ok(found.into_iter().map(str::to_owned).collect())
    }

    /// A device's own name; `vendor/class` for the first of a kind and `vendor/class=*` for all of
    /// it; else the name of a class, which devices are in by annotation.
    fn named(&self, asked: &str) -> Vec<&str> {
        let (kind, name) = asked.split_once('=').unwrap_or((asked, ""));
        let is_qualified = matches!(kind.split_once('/'), Some((vendor, class)) if !vendor.is_empty() && !class.is_empty());
        let mut found = Vec::new();
        if is_qualified {
            let of_kind = self.devices.keys().map(String::as_str);
            let mut of_kind = of_kind.filter(|it| is_of_kind(it, kind));
            match name {
                "" => found.extend(of_kind.next()),
                "*" => found.extend(of_kind),
                _ => found.extend(of_kind.find(|it| *it == asked)),
            }
        }
        if found.is_empty() {
            let devices = self.devices.iter();
            let of_class = devices.filter(|(_, device)| {
                device.annotations.get(CLASS).map(String::as_str) == Some(asked)
            });
            found.extend(of_class.map(|(name, _)| name.as_str()));
        }
        found
    }

    fn missing(&self, name: &str) -> BuildError {
        let error = invalid(format!("required device {name:?} is not registered"));
        let problems = self.problems.iter().take(TOLD);
        problems.fold(error, |error, problem| error.hint(problem.clone()))
    }
}

fn is_of_kind(device: &str, kind: &str) -> bool {
    let rest = device.strip_prefix(kind);
    rest.is_some_and(|rest| rest.starts_with('='))
}
