//! Which devices the user lets a step have.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kiln_llb::pb::{CdiDevice, op};
use kiln_llb::{Graph, Vertex};

use super::{Devices, invalid};
use crate::entitlement::{DeviceGrant, Entitlement};
use crate::error::BuildError;

/// Whether a graph has steps whose devices have to be granted one by one.
pub(crate) fn asks_for_judgement(graph: &Graph, granted: &BTreeSet<Entitlement>) -> bool {
    let has_devices = |vertex: &Vertex| match &vertex.op.op {
        Some(op::Op::Exec(exec)) => !exec.cdi_devices.is_empty(),
        _ => false,
    };
    !granted.contains(&Entitlement::Device(DeviceGrant::All))
        && graph.vertices.iter().any(has_devices)
}

impl Devices {
    /// A step with the devices that it gets in place of those that it asks for.
    pub(crate) fn bind<'a>(
        &self,
        vertex: &'a Vertex,
        granted: &BTreeSet<Entitlement>,
    ) -> Result<Cow<'a, Vertex>, BuildError> {
        match &vertex.op.op {
            Some(op::Op::Exec(exec)) if !exec.cdi_devices.is_empty() => {
                let mut exec = exec.clone();
                exec.cdi_devices = self.permit(exec.cdi_devices, granted)?;
                let mut bound = vertex.clone();
                bound.op.op = Some(op::Op::Exec(exec));
                Ok(Cow::Owned(bound))
            }
            _ => Ok(Cow::Borrowed(vertex)),
        }
    }

    fn permit(
        &self,
        asked: Vec<CdiDevice>,
        granted: &BTreeSet<Entitlement>,
    ) -> Result<Vec<CdiDevice>, BuildError> {
        let (mut names, mut aliases) = (Vec::new(), Vec::new());
        for entitlement in granted {
            let Entitlement::Device(DeviceGrant::Named { device, alias }) = entitlement else {
                continue;
            };
            match alias {
                Some(alias) => aliases.push((alias.as_str(), device.as_str())),
                None => names.push(required(device)),
            }
        }
        let (mut permitted, mut others) = (Vec::new(), Vec::new());
        for device in asked {
            match aliases.iter().find(|(alias, _)| *alias == device.name) {
                Some((_, name)) => permitted.push(CdiDevice {
                    name: (*name).to_owned(),
                    ..device
                }),
                None => others.push(device),
            }
        }
        let wanted = self.find(&others)?;
        if wanted.is_empty() {
            return Ok(permitted);
        }
        let free: BTreeSet<String> = self.find(&names)?.into_iter().collect();
        let is_free = |name: &String| {
            let device = self.devices.get(name);
            free.contains(name) || device.is_some_and(|it| it.auto_allowed)
        };
        let (allowed, forbidden): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_free);
        if !forbidden.is_empty() {
            return Err(not_allowed(&forbidden));
        }
        permitted.extend(allowed.iter().map(|name| required(name)));
        Ok(permitted)
    }
}

fn required(name: &str) -> CdiDevice {
    CdiDevice {
        name: name.to_owned(),
        optional: false,
    }
}

/// In BuildKit's words.
fn not_allowed(names: &[String]) -> BuildError {
    let message = match names {
        [name] => format!("device {name} is requested by the build but not allowed"),
        _ => format!(
            "devices {} are requested by the build but not allowed",
            names.join(", ")
        ),
    };
    let flags: Vec<_> = names
        .iter()
        .map(|name| format!("--allow device={name}"))
        .collect();
    invalid(message).hint(format!(
        "allow it with {} if you trust this build",
        flags.join(" ")
    ))
}
