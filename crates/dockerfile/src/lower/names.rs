//! How steps are called in progress: `[build 2/4] RUN make`.

use super::stage::{Origin, Stage};
use super::variables::expand_or_keep;
use crate::shell::{Lexer, Variables};
use kiln_llb::build::Env;
use kiln_llb::platform;
use oci_spec::image::Platform;

/// Name for work that no instruction asked for.
pub(crate) fn internal(name: &str) -> String {
    format!("[internal] {name}")
}

/// The text of an instruction for people: keyword in capitals, variables filled in.
pub(crate) fn command_text(lexer: &Lexer, text: &str, variables: &impl Variables) -> String {
    let text = expand_or_keep(lexer, text, variables);
    match text.split_once(' ') {
        Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// Whether names say the platform, which they do if there are several.
pub(crate) struct Naming<'a> {
    pub(crate) multi_platform: bool,
    pub(crate) platform: Option<&'a Platform>,
    pub(crate) env: &'a Env,
}

/// Counts the step and puts its place in front of `text`.
pub(crate) fn number_step(stage: &mut Stage, text: &str, naming: &Naming<'_>) -> String {
    stage.progress.done += 1;
    number_same_step(stage, text, naming)
}

/// Like [`number_step`] for another part of the step counted last.
pub(crate) fn number_same_step(stage: &Stage, text: &str, naming: &Naming<'_>) -> String {
    let progress = stage.progress;
    if progress.total == 0 {
        return text.into();
    }
    let platform = match naming.platform {
        Some(platform) if naming.multi_platform => {
            format!(
                "{}{} ",
                platform::format_all(platform),
                cross_target(platform, naming.env)
            )
        }
        _ => String::new(),
    };
    let label = match stage.label.as_str() {
        "" => String::new(),
        label => format!("{label} "),
    };
    let trigger = if progress.origin == Some(Origin::Trigger) {
        "ONBUILD "
    } else {
        ""
    };
    let width = progress.total.to_string().len();
    format!(
        "[{platform}{label}{:width$}/{}] {trigger}{text}",
        progress.done, progress.total
    )
}

/// `->arm64` for a step that runs on one platform and makes something for another.
fn cross_target(base: &Platform, env: &Env) -> String {
    let Some(mut target) = target_of(env) else {
        return String::new();
    };
    if target.os().to_string().is_empty() {
        target.set_os(base.os().clone());
    }
    if target.architecture().to_string().is_empty() {
        target.set_architecture(base.architecture().clone());
    }
    let target = platform::normalize(&target);
    if target.os() != base.os() {
        return format!("->{}", platform::format_all(&target));
    }
    if target.architecture() == base.architecture() {
        return String::new();
    }
    match target.variant() {
        Some(variant) => format!("->{}/{variant}", target.architecture()),
        None => format!("->{}", target.architecture()),
    }
}

/// The platform that the step's own variables speak of.
fn target_of(env: &Env) -> Option<Platform> {
    let (mut os, mut architecture, mut variant) = (None, None, None);
    for (name, value) in env.iter() {
        match name {
            "TARGETPLATFORM" => {
                if let Ok(target) = platform::parse(value) {
                    return Some(target);
                }
            }
            "TARGETOS" => os = Some(value),
            "TARGETARCH" => architecture = Some(value),
            "TARGETVARIANT" => variant = Some(value),
            _ => {}
        }
    }
    if os.is_none() && architecture.is_none() && variant.is_none() {
        return None;
    }
    Some(platform::platform(
        os.unwrap_or_default(),
        architecture.unwrap_or_default(),
        variant.unwrap_or_default(),
    ))
}
