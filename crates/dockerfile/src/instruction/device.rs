//! `RUN --device`.

use kiln_llb::git_url::parse_bool;

use super::{InstructionError, fields};
use crate::suggest::{Casing, closest};

/// A CDI device that a `RUN` step asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Name, `vendor/class=name`, `vendor/class=*` or a class; empty if the flag has none.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

impl Device {
    /// Reads the flag's value: the device's name, bare or as `name=`, and `required`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InstructionError> {
        let mut device = Self::default();
        for field in fields::split(text).map_err(InstructionError::DeviceFields)? {
            device.set(field)?;
        }
        Ok(device)
    }

    fn set(&mut self, field: String) -> Result<(), InstructionError> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => self.required = true,
            ("required", Some(value)) => {
                let invalid = || InstructionError::DeviceValue {
                    key: key.clone(),
                    value: value.to_owned(),
                };
                self.required = parse_bool(value).ok_or_else(invalid)?;
            }
            ("name", Some(_)) if !self.name.is_empty() => {
                return Err(InstructionError::DeviceName {
                    name: self.name.clone(),
                });
            }
            ("name", Some(value)) => self.name = value.to_owned(),
            // A device's own name has an equals sign in it.
            _ if self.name.is_empty() => self.name = field,
            (_, None) => return Err(InstructionError::DeviceField { field }),
            (_, Some(_)) => {
                let suggestion = closest(&key, ["name", "required"], Casing::Sensitive);
                return Err(InstructionError::DeviceKey {
                    key,
                    field,
                    suggestion,
                });
            }
        }
        Ok(())
    }
}
