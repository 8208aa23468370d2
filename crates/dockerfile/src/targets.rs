//! `frontend.targets`: the stages that can be built.

use crate::parse::Stage;
use crate::subrequest::{JsonLocation, Response, table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_llb::json::to_go_json_pretty;
use serde::Serialize;

/// Version of the answer's form.
const VERSION: &str = "1.0.0";

/// The stages of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    /// In order.
    pub targets: Vec<Target>,
    /// The file, base64.
    pub sources: Vec<String>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it is what is built when nothing is asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it starts from, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base: String,
    /// Its platform, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Where it stands.
    pub location: JsonLocation,
}

impl Targets {
    /// Lists the stages of `text`.
    pub fn new(stages: &[Stage], text: &[u8]) -> Self {
        let target = |(index, stage): (usize, &Stage)| Target {
            name: stage.name.clone().unwrap_or_default(),
            default: index + 1 == stages.len(),
            description: stage.description.clone().unwrap_or_default(),
            base: stage.base.clone(),
            platform: stage.platform.clone().unwrap_or_default(),
            location: JsonLocation::new(&[stage.location]),
        };
        Self {
            targets: stages.iter().enumerate().map(target).collect(),
            sources: vec![STANDARD.encode(text)],
        }
    }

    /// The answer to the request.
    pub fn to_response(&self) -> Response {
        let mut rows = vec![vec!["TARGET".to_string(), "DESCRIPTION".into()]];
        rows.extend(self.targets.iter().map(|target| {
            let name = match (target.name.as_str(), target.default) {
                ("", true) => "(default)".into(),
                (name, true) => format!("{name} (default)"),
                (name, false) => name.into(),
            };
            vec![name, target.description.clone()]
        }));
        Response::new(VERSION, to_go_json_pretty(self), table(&rows, 1))
    }
}
