//! Variables of a stage, and what is reported about them.

use super::Context;
use super::error::LowerError;
use super::stage::Stage;
use crate::lint::rules;
use crate::position::Location;
use crate::shell::{Lexer, Variables};
use crate::suggest::{Casing, closest};
use kiln_llb::build::Env;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Arguments that steer the build and never become environment variables.
pub(crate) const NON_ENV_ARGS: [&str; 2] = [SCAN_CONTEXT, SCAN_STAGE];

/// Whether the build context is scanned beside the result.
pub(crate) const SCAN_CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";
/// Which stages are scanned beside the result.
pub(crate) const SCAN_STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";

impl Variables for Env {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        Env::get(self, name).map(Cow::Borrowed)
    }
}

/// Expands `text`, or leaves it if it cannot be expanded.
pub(crate) fn expand_or_keep(lexer: &Lexer, text: &str, variables: &impl Variables) -> String {
    match lexer.expand(text, variables) {
        Ok(expansion) => expansion.text,
        Err(_) => text.into(),
    }
}

/// Where a word stands, for reports about it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) location: Location,
    pub(crate) comments: &'a [String],
}

/// Expands a word of an instruction with the variables of its stage.
pub(crate) fn expand(
    cx: &mut Context<'_>,
    stage: &Stage,
    lexer: &Lexer,
    word: &str,
    place: Place<'_>,
) -> Result<String, LowerError> {
    let state = stage.state();
    let env = &state.settings().env;
    let expansion = lexer.expand(word, env);
    if let Ok(expansion) = &expansion {
        report_undefined(cx, stage, env, &expansion.unmatched, place);
    }
    Ok(expansion?.text)
}

fn report_undefined(
    cx: &mut Context<'_>,
    stage: &Stage,
    env: &Env,
    unmatched: &BTreeSet<String>,
    place: Place<'_>,
) {
    for name in unmatched {
        let declared = stage.args.iter().any(|arg| arg.name == *name);
        if declared || NON_ENV_ARGS.contains(&name.as_str()) {
            continue;
        }
        let names = env.iter().map(|(name, _)| name);
        let suggestion = closest(name, names, Casing::Sensitive);
        let finding = rules::undefined_var(name, suggestion.as_deref());
        cx.linter.report(finding, place.location, place.comments);
    }
}
