//! `frontend.outline`: what a target can be given.

use crate::lower::{Capture, Stage, StageId};
use crate::position::Location;
use crate::subrequest::{JsonLocation, Response, table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_llb::json::to_go_json_pretty;
use serde::Serialize;
use std::collections::BTreeSet;

/// Version of the answer's form.
const VERSION: &str = "1.0.0";

/// What a target can be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// The target.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Build arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<OutlineArg>,
    /// Secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<OutlineMount>,
    /// SSH agents.
    #[serde(rename = "ssh", skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<OutlineMount>,
    /// The file, base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its value in this build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Where it is declared.
    pub location: JsonLocation,
}

/// A secret or agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutlineMount {
    /// Its name.
    pub name: String,
    /// Whether the build fails without it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Where it is used.
    pub location: JsonLocation,
}

/// What `target` and all it needs can be given.
pub(crate) fn outline(stages: &[Stage], target: StageId, text: &[u8]) -> Outline {
    let mut collected = Collected::default();
    collected.add(stages, target);
    let stage = &stages[target];
    collected.args.sort_by_key(|(location, _)| location.first);
    collected
        .secrets
        .sort_by_key(|(location, _)| location.first);
    collected.ssh.sort_by_key(|(location, _)| location.first);
    Outline {
        name: stage.name.clone().unwrap_or_default(),
        description: stage.description.clone().unwrap_or_default(),
        args: collected.args.into_iter().map(|(_, arg)| arg).collect(),
        secrets: collected.secrets.into_iter().map(|(_, it)| it).collect(),
        ssh: collected.ssh.into_iter().map(|(_, it)| it).collect(),
        sources: vec![STANDARD.encode(text)],
    }
}

#[derive(Default)]
struct Collected {
    visited: BTreeSet<StageId>,
    seen: BTreeSet<(&'static str, String)>,
    args: Vec<(Location, OutlineArg)>,
    secrets: Vec<(Location, OutlineMount)>,
    ssh: Vec<(Location, OutlineMount)>,
}

impl Collected {
    /// A stage first, then what it starts from, then what it reads.
    fn add(&mut self, stages: &[Stage], id: StageId) {
        if !self.visited.insert(id) {
            return;
        }
        let stage = &stages[id];
        self.add_capture(&stage.capture);
        for next in stage.base.iter().chain(stage.needs.keys()) {
            self.add(stages, *next);
        }
    }

    fn add_capture(&mut self, capture: &Capture) {
        for name in used_args(capture) {
            if let Some(info) = capture.args.get(&name)
                && self.seen.insert(("arg", name))
            {
                let arg = OutlineArg {
                    name: info.definition.name.clone(),
                    description: info.definition.description.clone().unwrap_or_default(),
                    value: info.value.clone(),
                    location: JsonLocation::new(&[info.location]),
                };
                self.args.push((info.location, arg));
            }
        }
        let lists = [
            ("secret", &capture.secrets, &mut self.secrets),
            ("ssh", &capture.ssh, &mut self.ssh),
        ];
        for (kind, mounts, list) in lists {
            for (name, info) in mounts {
                if self.seen.insert((kind, name.clone())) {
                    let mount = OutlineMount {
                        name: name.clone(),
                        required: info.required,
                        location: JsonLocation::new(&[info.location]),
                    };
                    list.push((info.location, mount));
                }
            }
        }
    }
}

/// The arguments in use, with those in their default values.
fn used_args(capture: &Capture) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut open: Vec<String> = capture.used_args.iter().cloned().collect();
    while let Some(name) = open.pop() {
        if let Some(info) = capture.args.get(&name) {
            open.extend(info.needs.iter().filter(|it| !used.contains(*it)).cloned());
        }
        used.insert(name);
    }
    used
}

impl Outline {
    /// The answer to the request.
    pub fn to_response(&self) -> Response {
        Response::new(VERSION, to_go_json_pretty(self), self.text())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.name.is_empty() || !self.description.is_empty() {
            let name = if self.name.is_empty() {
                "(default)"
            } else {
                self.name.as_str()
            };
            let mut rows = vec![vec!["TARGET:".to_string(), name.into()]];
            if !self.description.is_empty() {
                rows.push(vec!["DESCRIPTION:".into(), self.description.clone()]);
            }
            text.push_str(&table(&rows, 1));
            text.push('\n');
        }
        let args = self
            .args
            .iter()
            .map(|arg| vec![arg.name.clone(), arg.value.clone(), arg.description.clone()]);
        section(
            &mut text,
            ["BUILD ARG", "VALUE", "DESCRIPTION"]
                .map(Into::into)
                .to_vec(),
            args.collect(),
        );
        for (title, mounts) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            let required = |it: &OutlineMount| {
                if it.required {
                    "true".into()
                } else {
                    String::new()
                }
            };
            let rows = mounts.iter().map(|it| vec![it.name.clone(), required(it)]);
            section(
                &mut text,
                vec![title.into(), "REQUIRED".into()],
                rows.collect(),
            );
        }
        text
    }
}

fn section(text: &mut String, title: Vec<String>, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let mut all = vec![title];
    all.extend(rows);
    text.push_str(&table(&all, 3));
    text.push('\n');
}
