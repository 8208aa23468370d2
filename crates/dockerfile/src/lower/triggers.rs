//! `ONBUILD` triggers: instructions of a base that run first in what starts from it.

use super::error::LowerError;
use super::stage::{Origin, Stage, StageId};
use super::{Context, plan};
use crate::instruction::Command;
use crate::parse::parse_trigger;
use crate::position::Location;

/// The triggers that a stage of this file leaves behind.
pub(crate) fn of_stage(stage: &Stage) -> Vec<String> {
    let steps = stage.steps.iter();
    steps
        .filter_map(|step| match &step.command.value {
            Command::Onbuild(onbuild) => Some(onbuild.expression.clone()),
            _ => None,
        })
        .collect()
}

/// Puts triggers in front of a stage's instructions. True if they read other stages.
pub(crate) fn add(
    cx: &mut Context<'_>,
    id: StageId,
    expressions: &[String],
) -> Result<bool, LowerError> {
    let location = cx.stages[id].location.unwrap_or(Location::line(0));
    let mut steps = Vec::with_capacity(expressions.len());
    for expression in expressions {
        let command = parse_trigger(expression, location).map_err(LowerError::from)?;
        let step = plan::step(cx, command, Origin::Trigger).map_err(|error| error.at(location))?;
        plan::add_needs(cx, id, &step);
        steps.push(step);
    }
    let new_needs = steps.iter().any(|step| !step.sources.is_empty());
    let stage = &mut cx.stages[id];
    stage.progress.total += steps.len();
    steps.append(&mut stage.steps);
    stage.steps = steps;
    Ok(new_needs)
}
