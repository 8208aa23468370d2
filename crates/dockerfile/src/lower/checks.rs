//! Lint rules that need more than the text: variables, platforms, images, the ignore file.

use super::Context;
use super::args::with_meta_args;
use super::dispatch::Instruction;
use super::stage::Stage;
use crate::lint::rules;
use crate::parse;
use crate::shell::Expansion;
use crate::suggest::{Casing, closest};
use kiln_llb::build::Env;
use kiln_llb::{path, platform, reference};
use oci_spec::image::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// Every base must name an image when no argument is given.
pub(crate) fn default_bases(cx: &mut Context<'_>, predefined: &Env) {
    let file = &cx.source.file;
    // What is wrong with the arguments themselves is an error later.
    let Ok((defaults, _)) = with_meta_args(
        predefined.clone(),
        &cx.lexer,
        &file.meta_args,
        &BTreeMap::new(),
    ) else {
        return;
    };
    for stage in &file.stages {
        let Ok(base) = cx.lexer.expand(&stage.base, &defaults) else {
            return;
        };
        if reference::parse(&base.text).is_err() {
            let finding = rules::invalid_default_arg_in_from(&stage.base);
            cx.linter.report(finding, stage.location, &[]);
        }
    }
}

/// `FROM` may only use arguments that were declared before it.
pub(crate) fn undefined_from_args(
    cx: &mut Context<'_>,
    stage: &parse::Stage,
    expansion: &Expansion,
) {
    let declared: BTreeSet<&str> = cx
        .global_args
        .iter()
        .map(|(name, _)| name)
        .chain(cx.capture.args.keys().map(String::as_str))
        .collect();
    for name in &expansion.unmatched {
        if declared.contains(name.as_str()) {
            continue;
        }
        let suggestion = closest(name, declared.iter().copied(), Casing::Sensitive);
        let finding = rules::undefined_arg_in_from(name, suggestion.as_deref());
        cx.linter.report(finding, stage.location, &stage.comments);
    }
}

/// `FROM --platform` should depend on something, but not on the target, which it is anyway.
pub(crate) fn stage_platform(
    cx: &mut Context<'_>,
    stage: &parse::Stage,
    word: &str,
    expansion: &Expansion,
) {
    const TARGET: &str = "TARGETPLATFORM";
    let only_target = expansion.unmatched.is_empty() && expansion.matched.iter().eq([TARGET]);
    if only_target && cx.global_args.get(TARGET) == Some(expansion.text.as_str()) {
        let finding = rules::redundant_target_platform(word);
        cx.linter.report(finding, stage.location, &stage.comments);
    }
    if !expansion.matched.is_empty() || !expansion.unmatched.is_empty() {
        return;
    }
    let Ok(constant) = platform::parse(&expansion.text) else {
        return;
    };
    let name = stage.name.as_deref().unwrap_or_default();
    let spoken_of = |part: String| name.contains(&part);
    if !spoken_of(constant.os().to_string()) && !spoken_of(constant.architecture().to_string()) {
        let finding = rules::from_platform_flag_const_disallowed(&expansion.text);
        cx.linter.report(finding, stage.location, &stage.comments);
    }
}

/// A base image may be for another platform than asked for.
pub(crate) fn base_image_platform(
    cx: &mut Context<'_>,
    stage: &Stage,
    name: &str,
    expected: &Platform,
) {
    let actual = stage.image.platform();
    if expected.os() == actual.os() && expected.architecture() == actual.architecture() {
        return;
    }
    let text = |it: &Platform| platform::format_all(&platform::normalize(it));
    let finding = rules::invalid_base_image_platform(name, &text(expected), &text(&actual));
    if let Some(location) = stage.location {
        cx.linter.report(finding, location, &[]);
    }
}

/// Some instructions count only once.
pub(crate) fn used_once(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    kind: &'static str,
) {
    if let Some(earlier) = stage.last.insert(kind, at.location) {
        // The earlier one is what will be ignored.
        let finding = rules::multiple_instructions_disallowed(at.keyword);
        cx.linter.report(finding, earlier, at.comments);
    }
}

const SECRET_WORDS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
const HARMLESS_WORDS: [&str; 3] = ["public", "file", "version"];

/// Secrets have no place in arguments and variables, which end up in the image.
pub(crate) fn secret_name(
    cx: &mut Context<'_>,
    at: &Instruction<'_>,
    instruction: &str,
    name: &str,
) {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    if has(&SECRET_WORDS) && !has(&HARMLESS_WORDS) {
        let finding = rules::secrets_used_in_arg_or_env(instruction, name);
        cx.linter.report(finding, at.location, at.comments);
    }
}

/// A source may be excluded from the context. With exceptions in the ignore file there is no telling.
pub(crate) fn ignored_source(cx: &mut Context<'_>, at: &Instruction<'_>, verb: &str, source: &str) {
    let Some(matcher) = &cx.matcher else { return };
    if matcher.has_exceptions() {
        return;
    }
    let source = path::clean(source);
    let root = source == "." || source == "/";
    let excludes_all = |pattern: &String| ["*", "**", "**/*"].contains(&pattern.as_str());
    if root && !cx.ignored.iter().any(excludes_all) {
        return;
    }
    if matcher.matches(&source) {
        let finding = rules::copy_ignored_file(verb, &source);
        cx.linter.report(finding, at.location, at.comments);
    }
}
