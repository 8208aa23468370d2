//! What of a build is scanned, should anybody ask for an SBOM.

use std::collections::BTreeMap;

use kiln_llb::git_url::parse_bool;

use super::stage::{CacheUse, Stage, StageId};
use super::variables::{SCAN_CONTEXT, SCAN_STAGE};
use super::{Context, plan};
use crate::sbom::ScanTargets;

/// The result, and the contexts and stages that arguments of the stages name.
pub(super) fn targets(cx: &Context<'_>, target: StageId) -> ScanTargets {
    let stage = &cx.stages[target];
    let mut extras = BTreeMap::new();
    let mut ignores_cache = stage.cache == CacheUse::Ignored;
    if is_wanted(cx, stage, SCAN_CONTEXT) {
        extras.insert("context".to_owned(), cx.context.clone());
    }
    for id in plan::reachable(cx, target) {
        let other = &cx.stages[id];
        if id != target && is_wanted(cx, other, SCAN_STAGE) {
            let name = other.name.clone().unwrap_or_default();
            extras.insert(name, other.state());
            ignores_cache |= other.cache == CacheUse::Ignored;
        }
    }
    ScanTargets {
        core: stage.state(),
        extras,
        ignores_cache,
    }
}

/// Whether an argument says yes or names the stage. Those before the first stage hold for all, and the last one
/// in the stage that has a value counts more.
fn is_wanted(cx: &Context<'_>, stage: &Stage, argument: &str) -> bool {
    let own = stage
        .args
        .iter()
        .rev()
        .find(|it| it.name == argument && it.value.is_some());
    let value = match own {
        Some(own) => own.value.as_deref(),
        None => cx.global_args.get(argument),
    };
    let Some(value) = value else {
        return false;
    };
    let name = stage.name.as_deref().unwrap_or_default();
    parse_bool(value).unwrap_or_else(|| value.split(',').any(|it| it == name))
}
