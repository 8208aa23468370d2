//! Which stages there are, what they start from and what they read.

use super::error::{LowerError, LowerErrorKind, Stop};
use super::named;
use super::stage::{Origin, Phase, Stage, StageId, Step};
use super::{Context, checks};
use crate::instruction::{Command, Located};
use crate::parse;
use crate::position::Location;
use crate::shell::{Expansion, NoVariables};
use crate::suggest::{Casing, closest};
use kiln_llb::platform;
use oci_spec::image::Platform;
use std::collections::BTreeSet;

/// The base that is an empty filesystem.
pub(crate) const SCRATCH: &str = "scratch";

/// Plans the stages of the file.
pub(crate) fn stages(cx: &mut Context<'_>) -> Result<(), Stop> {
    let file = &cx.source.file;
    for (index, syntax) in file.stages.iter().enumerate() {
        plan_stage(cx, index, syntax).map_err(|stop| stop.at(syntax.location))?;
    }
    Ok(())
}

fn plan_stage(cx: &mut Context<'_>, index: usize, syntax: &parse::Stage) -> Result<(), Stop> {
    let expansion = cx.lexer.expand(&syntax.base, &cx.global_args);
    if let Ok(expansion) = &expansion {
        checks::undefined_from_args(cx, syntax, expansion);
    }
    let base = expansion?;
    if base.text.is_empty() {
        return Err(LowerErrorKind::BlankBase(syntax.base.clone()).into());
    }
    let mut used = base.matched;
    let label = syntax
        .name
        .clone()
        .unwrap_or_else(|| format!("stage-{index}"));
    let mut stage = Stage::new(syntax, base.text, label);
    stage.capture = cx.capture.clone();
    if let Some(word) = &syntax.platform {
        stage.platform = Some(stage_platform(cx, syntax, word, &mut used)?);
    }
    if let Some(name) = &syntax.name {
        stage.named = named::find(cx.options, name, stage.platform.as_ref())?;
    }
    let replaced = stage.named.is_some();
    let id = add(cx, stage);
    if replaced {
        cx.stages[id].base = None;
        return Ok(());
    }
    let stage = &mut cx.stages[id];
    stage.capture.used_args.extend(used);
    let pulled = stage.base.is_none() && stage.base_name != SCRATCH;
    let layers = syntax
        .commands
        .iter()
        .filter(|it| makes_step(&it.value))
        .count();
    stage.progress.total = layers + usize::from(pulled);
    stage.set_cache_use(cx.options);
    Ok(())
}

fn makes_step(command: &Command) -> bool {
    matches!(
        command,
        Command::Add(_) | Command::Copy(_) | Command::Run(_) | Command::Workdir(_)
    )
}

fn stage_platform(
    cx: &mut Context<'_>,
    syntax: &parse::Stage,
    word: &str,
    used: &mut BTreeSet<String>,
) -> Result<Platform, LowerError> {
    let word_of = || word.to_string();
    let expansion = cx.lexer.expand(word, &cx.global_args).map_err(|source| {
        let word = word_of();
        LowerErrorKind::PlatformArguments { word, source }
    })?;
    checks::undefined_from_args(cx, syntax, &expansion);
    checks::stage_platform(cx, syntax, word, &expansion);
    let suggestion = || suggest_arg(cx, &expansion);
    if expansion.text.is_empty() {
        let suggestion = suggestion();
        return Err(LowerErrorKind::EmptyPlatform {
            word: word_of(),
            suggestion,
        }
        .into());
    }
    let parsed = platform::parse(&expansion.text).map_err(|source| LowerErrorKind::Platform {
        word: word_of(),
        source,
        suggestion: suggestion(),
    })?;
    used.extend(expansion.matched);
    Ok(parsed)
}

fn suggest_arg(cx: &Context<'_>, expansion: &Expansion) -> Option<String> {
    let names = || cx.global_args.iter().map(|(name, _)| name);
    expansion
        .unmatched
        .iter()
        .find_map(|name| closest(name, names(), Casing::Sensitive))
}

/// Adds a stage, which may start from an earlier one.
pub(crate) fn add(cx: &mut Context<'_>, mut stage: Stage) -> StageId {
    if let Some(base) = cx.by_name.get(&stage.base_name) {
        stage.base = Some(*base);
        stage.capture = cx.stages[*base].capture.clone();
    }
    let id = cx.stages.len();
    if let Some(name) = &stage.name {
        cx.by_name.insert(name.clone(), id);
    }
    cx.stages.push(stage);
    id
}

/// The stage to build.
pub(crate) fn target(cx: &Context<'_>) -> Result<StageId, LowerError> {
    let name = &cx.options.target;
    if name.is_empty() {
        return Ok(cx.stages.len().saturating_sub(1));
    }
    cx.by_name
        .get(&name.to_lowercase())
        .copied()
        .ok_or_else(|| {
            let name = name.clone();
            let suggestion = closest(&name, labels(cx), Casing::Sensitive);
            LowerErrorKind::Target { name, suggestion }.into()
        })
}

/// Names of stages, for suggestions.
pub(crate) fn labels<'a>(cx: &'a Context<'_>) -> impl Iterator<Item = &'a str> {
    cx.stages
        .iter()
        .map(|stage| stage.label.as_str())
        .filter(|label| !label.is_empty())
}

/// Finds out which stages the instructions read.
pub(crate) fn needs(cx: &mut Context<'_>) -> Result<(), LowerError> {
    let file = &cx.source.file;
    for (id, syntax) in file.stages.iter().enumerate() {
        for command in &syntax.commands {
            let step = step(cx, command.clone(), Origin::File)?;
            add_needs(cx, id, &step);
            cx.stages[id].steps.push(step);
        }
    }
    refuse_cycles(cx)?;
    if let [only] = cx.stages.as_mut_slice() {
        only.label = String::new();
    }
    Ok(())
}

pub(crate) fn add_needs(cx: &mut Context<'_>, id: StageId, step: &Step) {
    for source in &step.sources {
        cx.stages[id].needs.insert(*source, step.command.location);
    }
}

/// An instruction with the stages that it reads. What is no stage is an image or a context, and becomes a stage without
/// instructions.
pub(crate) fn step(
    cx: &mut Context<'_>,
    command: Located<Command>,
    origin: Origin,
) -> Result<Step, LowerError> {
    let sources = match &command.value {
        Command::Copy(copy) if !copy.from.is_empty() => {
            let location = command.location;
            vec![copy_source(cx, &command, &copy.from).map_err(|error| error.at(location))?]
        }
        Command::Run(run) => {
            let froms: Vec<String> = run.mounts.iter().map(|mount| mount.from.clone()).collect();
            froms
                .iter()
                .map(|from| mount_source(cx, from, command.location))
                .collect()
        }
        _ => Vec::new(),
    };
    Ok(Step {
        command,
        sources,
        origin,
    })
}

fn copy_source(
    cx: &mut Context<'_>,
    command: &Located<Command>,
    from: &str,
) -> Result<StageId, LowerError> {
    if cx.lexer.expand(from, &NoVariables)?.text != from {
        return Err(LowerErrorKind::VariableFrom.into());
    }
    if let Ok(index) = from.parse::<i64>() {
        let known = usize::try_from(index)
            .ok()
            .filter(|it| *it < cx.stages.len());
        return known.ok_or_else(|| LowerErrorKind::StageIndex(index).into());
    }
    if let Some(id) = cx.by_name.get(&from.to_lowercase()) {
        return Ok(*id);
    }
    Ok(add(cx, Stage::external(from, command.location)))
}

/// A mount without `from` reads the context or nothing; it is given an empty stage, so that mounts and sources pair up.
fn mount_source(cx: &mut Context<'_>, from: &str, location: Location) -> StageId {
    let from = if from.is_empty() { SCRATCH } else { from };
    match cx.by_name.get(&from.to_lowercase()) {
        Some(id) => *id,
        None => add(cx, Stage::external(from, location)),
    }
}

fn refuse_cycles(cx: &Context<'_>) -> Result<(), LowerError> {
    let mut visited = BTreeSet::new();
    for id in 0..cx.stages.len() {
        let mut trail = Vec::new();
        if let Some(found) = find_cycle(cx, id, &mut visited, &mut trail) {
            return Err(found);
        }
    }
    Ok(())
}

fn find_cycle(
    cx: &Context<'_>,
    id: StageId,
    visited: &mut BTreeSet<StageId>,
    trail: &mut Vec<StageId>,
) -> Option<LowerError> {
    if !visited.insert(id) {
        return None;
    }
    trail.push(id);
    for (needed, location) in &cx.stages[id].needs {
        if trail.contains(needed) {
            let label = cx.stages[*trail.first().unwrap_or(needed)].label.clone();
            let mut error = LowerError::from(LowerErrorKind::Circular(label));
            let steps = trail
                .windows(2)
                .filter_map(|pair| cx.stages[pair[0]].needs.get(&pair[1]));
            error.locations = steps.copied().chain([*location]).collect();
            return Some(error);
        }
        if let Some(found) = find_cycle(cx, *needed, visited, trail) {
            return Some(found);
        }
    }
    trail.pop();
    None
}

/// What `target` needs, itself included.
pub(crate) fn reachable(cx: &Context<'_>, target: StageId) -> BTreeSet<StageId> {
    let mut reachable = BTreeSet::new();
    let mut open = vec![target];
    while let Some(id) = open.pop() {
        if reachable.insert(id) {
            let stage = &cx.stages[id];
            open.extend(stage.base.iter().chain(stage.needs.keys()).copied());
        }
    }
    reachable
}

/// Whether nothing is left to do for a stage.
pub(crate) fn is_done(stage: &Stage) -> bool {
    stage.phase == Phase::Done
}
