//! `buildctl build --dry-run`: what a build would do.

use std::fmt::Write as _;

use kiln_engine::plan::{Certainty, Fate, Plan, PlannedLayer, PlannedOutput, PlannedStep, Pull};

use super::output::Output;
use super::plan::BuildPlan;
use super::{daemon, embedded, interrupt};
use crate::arguments::{BuildArguments, ReportFormat};
use crate::bytes_text;
use crate::context::{Context, Opened, print};
use crate::failure::Failure;
use crate::progress::{Display, Stream};
use crate::{root, table};

pub(super) fn run(
    context: &Context,
    build: &BuildArguments,
    request: BuildPlan,
) -> Result<(), Failure> {
    let destinations = request.outputs.iter().map(Output::destination);
    let destinations: Vec<_> = destinations.collect();
    let mut plan = root::block_on(plan(context, build, request))?;
    for (output, destination) in plan.outputs.iter_mut().zip(destinations) {
        output.destination = destination;
    }
    match build.format {
        ReportFormat::Text => print(&text(&plan)),
        ReportFormat::Json => {
            let document = serde_json::to_string_pretty(&plan).map_err(Failure::usage)?;
            print(&format!("{document}\n"))
        }
    }
}

async fn plan(
    context: &Context,
    build: &BuildArguments,
    request: BuildPlan,
) -> Result<Plan, Failure> {
    let opened = context.open().await?;
    let display = Display::start(build.progress, Stream::Stderr, Vec::new())?;
    let sink = display.sink();
    let planning = async {
        match opened {
            Opened::Embedded(engine) => {
                let closed = |output: Output| Ok(output.leave_closed());
                let request = embedded::request(request, sink, closed)?;
                Ok(engine.plan(request).await?)
            }
            Opened::Daemon(client) => {
                let (request, services) = daemon::split(request, |_| Ok(None))?;
                let document = client.plan(request, services).await?;
                serde_json::from_slice(&document).map_err(Failure::usage)
            }
        }
    };
    let plan = interrupt::until_interrupted(planning).await;
    display.finish();
    plan
}

/// A plan for people.
fn text(plan: &Plan) -> String {
    let head = ["STEP", "FATE", "NAME"].map(str::to_owned).to_vec();
    let steps = plan.steps.iter().enumerate();
    let steps = steps.map(|(place, step)| vec![number(place), fate(step), name(step)]);
    let rows: Vec<_> = std::iter::once(head).chain(steps).collect();
    let mut text = table::align_with_spaces(&rows);
    for pull in &plan.pulls {
        text.push_str(&pulled(pull));
    }
    for output in &plan.outputs {
        text.push_str(&written(output));
    }
    for cache in &plan.cache_exports {
        let _ = writeln!(
            text,
            "would export a cache ({}) {}",
            cache.kind,
            match cache.destination.as_str() {
                "" => "with the image".to_owned(),
                destination => format!("to {destination}"),
            }
        );
    }
    text
}

/// Steps are counted from 1.
fn number(place: usize) -> String {
    (place + 1).to_string()
}

fn fate(step: &PlannedStep) -> String {
    match step.fate {
        Fate::Cached { .. } => "cached",
        Fate::Unneeded => "unneeded",
        Fate::Used => "used",
        Fate::Runs => "runs",
        Fate::Unknown { .. } => "unknown",
    }
    .to_owned()
}

/// The name with what there is to say. Commands may have several lines.
fn name(step: &PlannedStep) -> String {
    let name = step.name.lines().next().unwrap_or_default();
    match &step.fate {
        Fate::Cached { from: Some(cache) } => format!("{name} (in cache {cache})"),
        Fate::Unknown { depends_on } => {
            format!(
                "{name} (depends on what step {} comes to)",
                number(*depends_on)
            )
        }
        _ => name.to_owned(),
    }
}

fn pulled(pull: &Pull) -> String {
    let verb = match pull.certainty {
        Certainty::Sure => "would",
        Certainty::Possible => "may",
    };
    let (layers, from) = (amount(&pull.layers), &pull.from);
    let mut text = format!(
        "{verb} pull {layers} of step {} from {from}\n",
        number(pull.step)
    );
    for layer in &pull.layers {
        let _ = writeln!(text, "  {} {} bytes", layer.digest, layer.size);
    }
    text
}

fn amount(layers: &[PlannedLayer]) -> String {
    let size = layers.iter().map(|layer| layer.size).sum::<u64>();
    let size = bytes_text::size(i64::try_from(size).unwrap_or(i64::MAX));
    match layers.len() {
        1 => format!("1 layer ({size})"),
        count => format!("{count} layers ({size})"),
    }
}

fn written(output: &PlannedOutput) -> String {
    let is_image = matches!(
        output.kind.as_str(),
        "image" | "registry" | "oci" | "docker"
    );
    let mut layers = String::new();
    if is_image && !output.layers.is_empty() {
        let _ = write!(layers, " of {}", amount(&output.layers));
    }
    if is_image && output.has_new_layers {
        layers.push_str(if layers.is_empty() {
            " of new layers"
        } else {
            " and new ones"
        });
    }
    let kind = &output.kind;
    let mut text = String::new();
    for name in &output.pushed {
        let _ = writeln!(
            text,
            "would push {name}{layers}, as far as the registry lacks them"
        );
    }
    if let Some(destination) = &output.destination {
        let _ = writeln!(text, "would write {destination} ({kind}){layers}");
    } else if output.pushed.is_empty() {
        let names = output.names.join(", ");
        let _ = writeln!(text, "would make {kind} {names}{layers}");
    }
    text
}
