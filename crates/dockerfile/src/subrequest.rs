//! Questions about a Dockerfile that are answered in place of a build.

use crate::error::{Excerpt, SyntaxError};
use crate::known::{Known, Question};
use crate::lint::Warning;
use crate::lower::{self, LowerError, Lowering, Scope, Source};
use crate::options::Options;
use crate::outline;
use crate::position::Location;
use crate::targets::Targets;
use kiln_llb::build::SourceMap;
use kiln_llb::json::{source_info, to_go_json_pretty, to_json};
use kiln_llb::pb;
use serde::Serialize;
use std::collections::BTreeMap;

/// The requests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `frontend.subrequests.describe`: which requests there are.
    Describe,
    /// `frontend.outline`: what the target can be given.
    Outline,
    /// `frontend.targets`: the stages.
    Targets,
    /// `frontend.lint`: what should be written otherwise.
    Lint,
    /// `frontend.convertllb`: the LLB.
    ConvertLlb,
}

/// A request that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported request {0}")]
pub struct UnsupportedRequest(pub String);

impl Request {
    /// Reads the `requestid` option.
    pub fn parse(name: &str) -> Result<Self, UnsupportedRequest> {
        match name {
            "frontend.subrequests.describe" => Ok(Self::Describe),
            "frontend.outline" => Ok(Self::Outline),
            "frontend.targets" => Ok(Self::Targets),
            "frontend.lint" => Ok(Self::Lint),
            "frontend.convertllb" => Ok(Self::ConvertLlb),
            other => Err(UnsupportedRequest(other.into())),
        }
    }
}

/// An answer: metadata of a result without files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `result.json`, `result.txt`, `version` and for some requests `result.statuscode`.
    pub metadata: BTreeMap<&'static str, String>,
    /// What should be written otherwise, unless that is the answer.
    pub warnings: Vec<Warning>,
}

impl Response {
    pub(crate) fn new(version: &str, json: String, text: String) -> Self {
        let metadata = BTreeMap::from([
            ("result.json", json),
            ("result.txt", text),
            ("version", version.into()),
        ]);
        Self {
            metadata,
            warnings: Vec::new(),
        }
    }
}

/// How far an answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It is complete.
    Done(Response),
    /// These questions are open.
    Needs(Vec<Question>),
}

/// Answers a request about `source`.
pub fn answer(
    request: Request,
    source: &Source,
    options: &Options,
    known: &Known,
) -> Result<Answering, LowerError> {
    match request {
        Request::Describe => Ok(Answering::Done(describe())),
        Request::Targets => {
            let targets = Targets::new(&source.file.stages, &source.map.data);
            Ok(Answering::Done(targets.to_response()))
        }
        Request::Outline => lower::inspect(source, options, known, Scope::Target, |cx, target| {
            let outline = outline::outline(&cx.stages, target?, &source.map.data);
            Ok(Response {
                warnings: cx.linter.warnings().to_vec(),
                ..outline.to_response()
            })
        }),
        Request::Lint => {
            let scope = if options.target.is_empty() {
                Scope::AllStages
            } else {
                Scope::Target
            };
            lower::inspect(source, options, known, scope, |cx, target| {
                // What cannot be built can still be judged, as far as lowering came.
                let error = target.err();
                let error = error
                    .as_ref()
                    .map(|it| (it.to_string(), it.locations.as_slice()));
                Ok(lint(&source.map, cx.linter.warnings(), error))
            })
        }
        Request::ConvertLlb => match lower::lower(source, options, known)? {
            Lowering::Needs(questions) => Ok(Answering::Needs(questions)),
            Lowering::Done(lowered) => {
                let mut response =
                    Response::new("0.1.0", to_json(&lowered.definition), String::new());
                response.metadata.remove("result.txt");
                response.warnings = lowered.warnings;
                Ok(Answering::Done(response))
            }
        },
    }
}

#[derive(Serialize)]
struct Description {
    name: &'static str,
    version: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    description: &'static str,
    opts: Option<Vec<Named>>,
    inputs: Option<Vec<Named>>,
    metadata: Vec<Named>,
    refs: Option<Vec<Named>>,
}

#[derive(Serialize)]
struct Named {
    name: &'static str,
    description: &'static str,
}

fn describe() -> Response {
    let metadata = || {
        ["result.json", "result.txt"]
            .map(|name| Named {
                name,
                description: "",
            })
            .into()
    };
    let request = |name, description, opts| Description {
        name,
        version: "1.0.0",
        kind: "rpc",
        description,
        opts,
        inputs: None,
        metadata: metadata(),
        refs: None,
    };
    let target = Named {
        name: "target",
        description: "Target build stage",
    };
    let all = [
        request(
            "frontend.outline",
            "List all parameters current build target supports",
            Some(vec![target]),
        ),
        request(
            "frontend.targets",
            "List all targets current build supports",
            Some(vec![]),
        ),
        request(
            "frontend.subrequests.describe",
            "List available subrequest types",
            None,
        ),
    ];
    let mut rows = vec![
        ["NAME", "VERSION", "DESCRIPTION"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(all.iter().map(|it| {
        let name = it.name.strip_prefix("frontend.").unwrap_or(it.name);
        vec![name.into(), it.version.into(), it.description.into()]
    }));
    Response::new("1.0.0", to_go_json_pretty(&all), table(&rows, 1))
}

#[derive(Serialize)]
struct LintResults<S: Serialize> {
    warnings: Option<Vec<LintWarning>>,
    sources: [S; 1],
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    error: Option<BuildError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LintWarning {
    rule_name: &'static str,
    description: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'static str,
    detail: String,
    location: JsonLocation,
}

#[derive(Serialize)]
struct BuildError {
    message: String,
    location: JsonLocation,
}

/// Answers a lint request about a file that does not even parse, with what was found
/// above the error.
pub fn lint_syntax_error(map: &SourceMap, warnings: &[Warning], error: &SyntaxError) -> Response {
    let locations: Vec<Location> = error.location.into_iter().collect();
    lint(map, warnings, Some((error.to_string(), &locations)))
}

/// What was found, and the error that kept lowering from finding more.
fn lint(map: &SourceMap, warnings: &[Warning], error: Option<(String, &[Location])>) -> Response {
    let info = pb::SourceInfo {
        filename: map.filename.clone(),
        data: map.data.clone(),
        definition: map.definition.clone().map(Into::into),
        language: map.language.clone(),
    };
    let list: Vec<LintWarning> = warnings.iter().map(lint_warning).collect();
    let failed = !list.is_empty() || error.is_some();
    let results = LintResults {
        warnings: Some(list).filter(|it| !it.is_empty()),
        sources: [source_info(&info)],
        error: error.map(|(message, locations)| BuildError {
            message,
            location: JsonLocation::new(locations),
        }),
    };
    let mut response = Response::new(
        "1.0.0",
        to_go_json_pretty(&results),
        lint_text(map, warnings),
    );
    response
        .metadata
        .insert("result.statuscode", u8::from(failed).to_string());
    response
}

fn lint_warning(warning: &Warning) -> LintWarning {
    LintWarning {
        rule_name: warning.rule.name,
        description: warning.rule.description,
        url: warning.rule.url,
        detail: warning.message.clone(),
        location: JsonLocation::new(&[warning.location]),
    }
}

/// Warnings for people, in the order of lines.
fn lint_text(map: &SourceMap, warnings: &[Warning]) -> String {
    let mut sorted: Vec<&Warning> = warnings.iter().collect();
    sorted.sort_by_key(|warning| warning.location.first);
    let mut text = String::new();
    for warning in sorted {
        text.push_str(&format!("\nWARNING: {}", warning.rule.name));
        if !warning.rule.url.is_empty() {
            text.push_str(&format!(" - {}", warning.rule.url));
        }
        text.push_str(&format!("\n{}\n", warning.message));
        if let Some(excerpt) = Excerpt::new(&map.filename, &map.data, &[warning.location]) {
            text.push_str(&excerpt.to_string());
        }
    }
    text
}

/// Lines in the form of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JsonLocation {
    /// One per line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<JsonRange>,
}

/// A range of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JsonRange {
    /// First.
    pub start: JsonPosition,
    /// Last.
    pub end: JsonPosition,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JsonPosition {
    /// Counted from one.
    pub line: u32,
}

impl JsonLocation {
    pub(crate) fn new(locations: &[Location]) -> Self {
        let ranges = locations.iter().flat_map(|location| location.ranges());
        let ranges = ranges.map(|range| JsonRange {
            start: JsonPosition {
                line: range.start.line,
            },
            end: JsonPosition {
                line: range.end.line,
            },
        });
        Self {
            ranges: ranges.collect(),
        }
    }
}

/// Lays out rows in columns with `gap` blanks between them.
pub(crate) fn table(rows: &[Vec<String>], gap: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell =
        |row: &Vec<String>, column: usize| row.get(column).map_or(0, |it| it.chars().count());
    let width = |column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, value) in row.iter().enumerate() {
            text.push_str(value);
            if column + 1 < row.len() {
                let blanks = widths[column] + gap - cell(row, column);
                text.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        text.push('\n');
    }
    text
}
