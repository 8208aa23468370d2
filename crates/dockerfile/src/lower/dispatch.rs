//! Lowering the instructions of stages, in order.

use super::error::{LowerError, Stop};
use super::paths::{Ending, PathStyle};
use super::stage::{CacheUse, Phase, Stage, StageId, Step, follow_paths};
use super::variables::{Place, expand};
use super::{Context, Scope, base, config, context, copy, expose, plan, run};
use crate::image::{ImageConfig, split_env};
use crate::instruction::{Command, Located};
use crate::lower::ignored as ignore;
use crate::options::IGNORE_FILE;
use crate::position::Location;
use crate::shell::Lexer;
use kiln_llb::build::{Constraints, DEFAULT_PATH, SourceMap};
use kiln_llb::pb;
use oci_spec::image::Platform;
use std::sync::Arc;

/// Description key for the instruction's text.
pub(crate) const COMMAND: &str = "com.docker.dockerfile.v1.command";

/// Lowers what `target` needs, or all stages, and then says which part of the context is used.
pub(crate) fn stages(cx: &mut Context<'_>, target: StageId, scope: Scope) -> Result<(), Stop> {
    let main = context::remote(cx.options, &cx.oracle)?;
    if main.is_none() {
        cx.ignored = ignored(cx)?;
        cx.matcher = ignore::matcher(&cx.ignored)?;
    }
    let reachable = plan::reachable(cx, target);
    let mut used = std::collections::BTreeSet::new();
    for id in 0..cx.stages.len() {
        let wanted = reachable.contains(&id) && !plan::is_done(&cx.stages[id]);
        if !wanted && scope == Scope::Target {
            continue;
        }
        base::inherit(cx, id);
        let mut stage = std::mem::take(&mut cx.stages[id]);
        let dispatched = lower_stage(cx, &mut stage);
        stage.phase = Phase::Done;
        used.extend(stage.context_paths.iter().cloned());
        cx.stages[id] = stage;
        dispatched?;
    }
    // The result may be looked at in full.
    cx.stages[target].use_path("/");
    let main = match main {
        Some(remote) => remote.state,
        None => context::local_context(cx.options, cx.ignored.clone(), follow_paths(&used)),
    };
    cx.context_end.resolve(&main);
    Ok(())
}

/// Patterns of what is not part of the context.
fn ignored(cx: &Context<'_>) -> Result<Vec<String>, Stop> {
    let content = match &cx.source.ignore {
        Some(content) => Some(content.clone()),
        None => {
            let definition = context::load_dockerignore(cx.options)?;
            context::read_file(&cx.oracle, &definition, IGNORE_FILE, None)?
        }
    };
    Ok(ignore::read(content.as_deref())?)
}

fn lower_stage(cx: &mut Context<'_>, stage: &mut Stage) -> Result<(), LowerError> {
    start(cx, stage)?;
    for step in stage.steps.clone() {
        let location = step.command.location;
        instruction(cx, stage, step).map_err(|error| error.at(location))?;
    }
    Ok(())
}

/// Sets the state up as the image below says.
fn start(cx: &Context<'_>, stage: &mut Stage) -> Result<(), LowerError> {
    let platform = stage.platform_or(&cx.targets);
    let style = PathStyle::of(&platform);
    stage.platform = Some(platform);
    let has_path = stage
        .image
        .config
        .env
        .iter()
        .any(|it| split_env(it).0 == "PATH");
    if !has_path && style == PathStyle::Unix {
        stage.image.config.env.push(format!("PATH={DEFAULT_PATH}"));
    }
    let mut state = stage.state();
    for (name, value) in stage.image.config.env.iter().map(|it| split_env(it)) {
        state = state.add_env(name, value);
    }
    if !cx.options.hostname.is_empty() {
        state = state.hostname(&cx.options.hostname);
    }
    if !stage.image.config.working_dir.is_empty() {
        let dir = stage.image.config.working_dir.clone();
        let dir = style.resolve(&dir, &dir, Ending::Drop)?;
        stage.image.config.working_dir = style.to_native(&dir);
        state = state.dir(&dir);
    }
    if !stage.image.config.user.is_empty() {
        state = state.user(&stage.image.config.user);
    }
    stage.state = Some(state.network(cx.options.network));
    Ok(())
}

fn instruction(cx: &mut Context<'_>, stage: &mut Stage, step: Step) -> Result<(), LowerError> {
    stage.progress.origin = Some(step.origin);
    let Step {
        command: mut located,
        sources,
        ..
    } = step;
    expand_words(cx, stage, &mut located)?;
    let Located {
        value,
        keyword,
        source,
        location,
        comments,
    } = located;
    let at = Instruction {
        keyword: &keyword,
        source: &source,
        location,
        comments: &comments,
    };
    match value {
        Command::Add(add) => copy::add(cx, stage, &at, add),
        Command::Copy(copy) => copy::copy(cx, stage, &at, copy, sources.first().copied()),
        Command::Run(run) => run::run(cx, stage, &at, &run, &sources),
        Command::Arg(arg) => config::arg(cx, stage, &at, arg),
        Command::Env(env) => {
            config::env(cx, stage, &at, &env);
            Ok(())
        }
        Command::Label(label) => {
            config::label(cx, stage, &at, label);
            Ok(())
        }
        Command::Workdir(workdir) => config::workdir(cx, stage, &at, &workdir.path),
        Command::Expose(expose) => expose::expose(cx, stage, &at, &expose.ports),
        other => config::simple(cx, stage, &at, other),
    }
}

/// An instruction apart from its meaning.
pub(crate) struct Instruction<'a> {
    pub(crate) keyword: &'a str,
    pub(crate) source: &'a str,
    pub(crate) location: Location,
    pub(crate) comments: &'a [String],
}

impl<'a> Instruction<'a> {
    pub(crate) fn place(&self) -> Place<'a> {
        Place {
            location: self.location,
            comments: self.comments,
        }
    }
}

fn expand_words(
    cx: &mut Context<'_>,
    stage: &Stage,
    located: &mut Located<Command>,
) -> Result<(), LowerError> {
    let comments = located.comments.clone();
    let place = Place {
        location: located.location,
        comments: &comments,
    };
    let lexer = cx.lexer;
    located
        .value
        .expand(|word| expand(cx, stage, &lexer, word, place))?;
    let lexer = Lexer::for_heredocs();
    located
        .value
        .expand_contents(|text| expand(cx, stage, &lexer, text, place))
}

/// Adds source lines to an op's metadata.
pub(crate) fn located(
    cx: &Context<'_>,
    constraints: Constraints,
    location: Option<Location>,
) -> Constraints {
    match location {
        Some(location) => add_location(constraints, &cx.source.map, location),
        None => constraints,
    }
}

fn add_location(constraints: Constraints, map: &Arc<SourceMap>, location: Location) -> Constraints {
    let ranges = location.ranges().map(|range| {
        let position = |at: crate::position::Position| pb::Position {
            line: at.line as i32,
            character: at.character as i32,
        };
        pb::Range {
            start: Some(position(range.start)),
            end: Some(position(range.end)),
        }
    });
    constraints.location(map, ranges.collect())
}

/// Constraints of a step of an instruction.
pub(crate) fn constraints(
    cx: &Context<'_>,
    stage: &Stage,
    name: String,
    location: Location,
) -> Constraints {
    let constraints = located(cx, Constraints::named(name), Some(location));
    match stage.cache {
        CacheUse::Allowed => constraints,
        CacheUse::Ignored => constraints.ignore_cache(),
    }
}

/// Says in the image which platform was asked for.
pub(crate) fn set_target_platform(image: &mut ImageConfig, target: &Platform) {
    let (os, architecture) = (target.os().to_string(), target.architecture().to_string());
    let same = image.os == os && image.architecture == architecture;
    image.os = os;
    image.architecture = architecture;
    let variant = target.variant().clone().unwrap_or_default();
    if !variant.is_empty() || !same {
        image.variant = variant;
    }
    let version = target.os_version().clone().unwrap_or_default();
    if !version.is_empty() || !same {
        image.os_version = version;
    }
    if let Some(features) = target.os_features() {
        image.os_features = features.clone();
    }
}
