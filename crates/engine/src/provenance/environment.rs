//! What operators add to the provenance of every build.

use serde_json::{Map, Value};

/// Names that the engine itself gives values.
const OWN: [&str; 3] = ["buildConfig", "builderPlatform", "platform"];

/// Fields that provenance has beside those of the engine, such as the name of the machine or of the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProvenanceEnvironment(Map<String, Value>);

impl ProvenanceEnvironment {
    /// Adds the fields of a JSON object. Of fields with one name the last one counts.
    pub fn add(&mut self, json: &[u8]) -> Result<(), String> {
        let fields = serde_json::from_slice::<Map<String, Value>>(json);
        let fields = fields.map_err(|error| format!("no JSON object: {error}"))?;
        match OWN.into_iter().find(|name| fields.contains_key(*name)) {
            Some(name) => Err(format!(
                "key {name:?} is builtin and not allowed to be modified in provenance config"
            )),
            None => {
                self.0.extend(fields);
                Ok(())
            }
        }
    }

    /// All of it with the engine's own fields, sorted by name. What operators gave counts.
    pub(super) fn with(&self, own: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let mut fields = self.0.clone();
        for (name, value) in own {
            fields.entry(name).or_insert(value);
        }
        Value::Object(fields)
    }
}
