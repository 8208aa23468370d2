//! What stages start from: images, named contexts, nothing.

use super::error::{LowerError, LowerErrorKind, Stop};
use super::names::{Naming, number_step};
use super::plan::{self, SCRATCH};
use super::stage::{Phase, Stage, StageId, Triggers};
use super::{Choice, Context, Scope, checks, named, triggers};
use crate::image::ImageConfig;
use crate::known::{Answer, ImageQuestion, NoAnswer, Question, ResolvedConfig};
use crate::suggest::{Casing, closest};
use kiln_llb::build::{Constraints, Env, ImageOptions, State};
use kiln_llb::platform;
use kiln_llb::reference::{self, Reference};
use oci_spec::image::Platform;
use std::collections::BTreeSet;

/// Resolves the bases of what `target` needs. Triggers of base images may add needs, so this repeats until none do.
pub(crate) fn resolve(cx: &mut Context<'_>, target: StageId, scope: Scope) -> Result<(), Stop> {
    loop {
        let reachable = plan::reachable(cx, target);
        resolve_all(cx, &reachable, scope)?;
        if !read_triggers(cx, &reachable)? {
            return Ok(());
        }
    }
}

/// Every stage asks its question before lowering stops for the answers.
fn resolve_all(
    cx: &mut Context<'_>,
    reachable: &BTreeSet<StageId>,
    scope: Scope,
) -> Result<(), Stop> {
    let mut open = false;
    for id in 0..cx.stages.len() {
        let stage = &cx.stages[id];
        if stage.base.is_some() || stage.phase != Phase::Planned {
            continue;
        }
        let needed = scope == Scope::AllStages || reachable.contains(&id);
        let location = stage.location;
        match resolve_stage(cx, id, needed) {
            Ok(()) => {}
            Err(Stop::Open) => open = true,
            Err(stop) => return Err(location.into_iter().fold(stop, Stop::at)),
        }
    }
    if open { Err(Stop::Open) } else { Ok(()) }
}

fn resolve_stage(cx: &mut Context<'_>, id: StageId, needed: bool) -> Result<(), Stop> {
    let mut stage = std::mem::take(&mut cx.stages[id]);
    let resolved = resolve_base(cx, &mut stage, needed);
    if resolved.is_ok() {
        let external = stage.is_external();
        let phase = if external || stage.phase == Phase::Done {
            Phase::Done
        } else {
            Phase::Resolved
        };
        // A stage that nobody needs now may still be needed by a trigger.
        stage.phase = if needed { phase } else { Phase::Planned };
    }
    cx.stages[id] = stage;
    resolved
}

fn resolve_base(cx: &mut Context<'_>, stage: &mut Stage, needed: bool) -> Result<(), Stop> {
    if stage.base_name == SCRATCH && stage.named.is_none() {
        stage.state = Some(State::scratch());
        stage.image = ImageConfig::empty(&cx.targets.target);
        stage.platform = Some(cx.targets.target.clone());
        return Ok(());
    }
    if !needed {
        // Also what is not built must make sense.
        parse_base(&stage.base_name)?;
        return Ok(());
    }
    match stage.named.clone() {
        Some(context) => replace(cx, stage, &context),
        None => from_image(cx, stage),
    }
}

/// A named context takes the place of the whole stage.
fn replace(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    context: &named::NamedContext,
) -> Result<(), Stop> {
    let loaded = named::load(cx, context, &stage.paths)?;
    stage.phase = Phase::Done;
    stage.state = Some(loaded.state);
    if let Some(mut image) = loaded.image {
        image.created = None;
        if !image.architecture.is_empty() && !image.os.is_empty() {
            stage.platform = Some(image.platform());
        }
        stage.image = image;
    }
    Ok(())
}

fn from_image(cx: &mut Context<'_>, stage: &mut Stage) -> Result<(), Stop> {
    let written = stage.base_name.clone();
    let parsed = parse_base(&written)?;
    let full = parsed.clone().with_default_tag();
    let wanted = stage.platform_or(&cx.targets);
    if let Some(context) = named::find(cx.options, &full.to_string(), Some(&wanted))? {
        let loaded = named::load(cx, &context, &stage.paths)?;
        let mut image = loaded.image.unwrap_or_else(|| ImageConfig::empty(&wanted));
        stage.base_image = Some(image.clone());
        image.created = None;
        stage.image = image;
        stage.state = Some(loaded.state.platform(&wanted));
        stage.platform = Some(wanted);
        return Ok(());
    }
    let resolved = ask(cx, &written, &full, &wanted)?;
    let mut image = ImageConfig::parse(&resolved.config).map_err(LowerErrorKind::from)?;
    stage.base_image = Some(image.clone());
    image.created = None;
    let platform = match stage.platform {
        None if cx.targets.choice == Choice::Implicit => {
            detect_platform(&image, wanted, &cx.options.build_platforms)
        }
        _ => wanted,
    };
    stage.base_name = pinned(&resolved, parsed)?;
    stage.image = image;
    start_from_image(cx, stage, &written, platform)
}

fn parse_base(name: &str) -> Result<Reference, LowerErrorKind> {
    reference::parse(name).map_err(|source| LowerErrorKind::BaseName {
        name: name.into(),
        source,
    })
}

fn ask(
    cx: &Context<'_>,
    written: &str,
    full: &Reference,
    platform: &Platform,
) -> Result<ResolvedConfig, Stop> {
    let platform_text = match cx.options.multi_platform {
        true => format!("{} ", platform::format_all(platform)),
        false => String::new(),
    };
    let question = Question::ImageConfig(ImageQuestion {
        reference: full.to_string(),
        platform: platform.clone(),
        resolve_mode: cx.options.resolve_mode,
        log_name: format!("[{platform_text}internal] load metadata for {full}"),
    });
    let reason = match cx.oracle.ask(question) {
        Ok(Answer::Config(resolved)) => return Ok(resolved.clone()),
        Ok(Answer::Redirect(identifier)) => {
            format!("it was replaced by {identifier}, which is no image")
        }
        Ok(_) => "it has no configuration".into(),
        Err(NoAnswer::Failed(reason)) => reason,
        Err(NoAnswer::Open) => return Err(Stop::Open),
    };
    let common = COMMON_IMAGES.iter().copied();
    Err(LowerErrorKind::BaseImage {
        name: written.into(),
        reason,
        suggestion: closest(written, plan::labels(cx).chain(common), Casing::Sensitive),
    }
    .into())
}

/// Images that people often mean.
const COMMON_IMAGES: [&str; 14] = [
    "alpine",
    "alpine:latest",
    "busybox",
    "busybox:latest",
    "centos",
    "centos:latest",
    "debian",
    "debian:latest",
    "golang",
    "golang:latest",
    "ubuntu",
    "ubuntu:latest",
    "fedora",
    "fedora:latest",
];

/// The image's name with the digest that was found, so that all steps see the same image.
fn pinned(resolved: &ResolvedConfig, written: Reference) -> Result<String, LowerError> {
    let reference = if written.to_string() == resolved.reference || resolved.reference.is_empty() {
        written
    } else {
        reference::parse(&resolved.reference).map_err(|source| LowerErrorKind::BaseName {
            name: resolved.reference.clone(),
            source,
        })?
    };
    let reference = match resolved.digest.as_str() {
        "" => reference,
        digest => reference.with_digest(digest),
    };
    Ok(reference.to_string())
}

fn start_from_image(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    written: &str,
    platform: Platform,
) -> Result<(), Stop> {
    let layers = stage
        .image
        .rootfs
        .diff_ids
        .iter()
        .flatten()
        .next()
        .is_some()
        || stage.image.history.iter().any(|it| !it.empty_layer);
    if !layers {
        stage.state = Some(State::scratch());
        stage.platform = Some(platform);
        return Ok(());
    }
    let naming = Naming {
        multi_platform: cx.options.multi_platform,
        platform: Some(&platform),
        env: &Env::default(),
    };
    let name = number_step(stage, &format!("FROM {}", stage.base_name), &naming);
    let constraints = Constraints::named(name)
        .describe(super::dispatch::COMMAND, stage.source.as_str())
        .platform(platform.clone());
    let options = ImageOptions {
        resolve_mode: cx.options.resolve_mode,
        constraints: super::dispatch::located(cx, constraints, stage.location),
        ..Default::default()
    };
    let state =
        State::image(&stage.base_name, options).map_err(|source| LowerErrorKind::BaseName {
            name: stage.base_name.clone(),
            source,
        })?;
    stage.state = Some(state);
    checks::base_image_platform(cx, stage, written, &platform);
    stage.platform = Some(platform);
    Ok(())
}

/// Without a wish for a platform, the image's own will do if steps can run on it.
fn detect_platform(image: &ImageConfig, wanted: Platform, supported: &[Platform]) -> Platform {
    let same = |it: &&Platform| {
        it.os().to_string() == image.os && it.architecture().to_string() == image.architecture
    };
    if same(&&wanted) {
        return wanted;
    }
    supported.iter().find(same).cloned().unwrap_or(wanted)
}

/// Takes over what the stage below has.
pub(crate) fn inherit(cx: &mut Context<'_>, id: StageId) {
    let Some(base) = cx.stages[id].base else {
        return;
    };
    let below = &cx.stages[base];
    let (state, platform, base_image) = (
        below.state.clone(),
        below.platform.clone(),
        below.base_image.clone(),
    );
    let (paths, workdir_seen, args) = (below.paths.clone(), below.workdir_seen, below.args.clone());
    let mut image = below.image.clone();
    // Triggers only fire once, in the stage right above.
    image.config.on_build.clear();
    let stage = &mut cx.stages[id];
    stage.state = state;
    stage.platform = platform;
    stage.base_image = base_image;
    stage.image = image;
    stage.paths = paths;
    stage.workdir_seen = workdir_seen;
    stage.args.extend(args);
}

/// Reads triggers of base images and stages; whether they need stages that nothing needed before.
fn read_triggers(cx: &mut Context<'_>, reachable: &BTreeSet<StageId>) -> Result<bool, LowerError> {
    let mut new_needs = false;
    for id in reachable.iter().copied() {
        let mut expressions = std::mem::take(&mut cx.stages[id].image.config.on_build);
        if let Some(base) = cx.stages[id].base
            && cx.stages[id].triggers == Triggers::Unread
        {
            expressions.extend(triggers::of_stage(&cx.stages[base]));
            cx.stages[id].triggers = Triggers::Read;
        }
        if !expressions.is_empty() {
            new_needs |= triggers::add(cx, id, &expressions)?;
        }
    }
    Ok(new_needs)
}
