//! `COPY` and `ADD`.

use super::dispatch::{Instruction, constraints};
use super::error::{LowerError, LowerErrorKind};
use super::history::{Effect, commit};
use super::names::{Naming, command_text, internal, number_same_step, number_step};
use super::paths::{Ending, PathStyle};
use super::stage::{Phase, Stage, StageId};
use super::{Context, checks, remote};
use crate::instruction::{Add, Copy, SourceContent, Sources};
use kiln_llb::build::{self, Constraints, FileActions, MakeFile, Mode, Owner, State};
use kiln_llb::{caps, path, pb};
use oci_spec::image::Platform;

/// What `COPY` and `ADD` have in common.
pub(crate) struct Transfer<'a> {
    pub(crate) at: &'a Instruction<'a>,
    pub(crate) kind: Kind,
    sources: Sources,
    /// Where paths are read from.
    from: State,
    chown: String,
    chmod: String,
    exclude: Vec<String>,
    link: bool,
    parents: bool,
    pub(crate) keep_git_dir: Option<bool>,
    pub(crate) checksum: String,
    pub(crate) unpack: Option<bool>,
}

/// Which instruction it is, and for `COPY` what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Add,
    CopyContext,
    CopyStage,
}

pub(crate) fn add(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    add: Add,
) -> Result<(), LowerError> {
    let paths = add.sources.paths.clone();
    let transfer = Transfer {
        at,
        kind: Kind::Add,
        sources: add.sources,
        from: cx.context.clone(),
        chown: add.chown,
        chmod: add.chmod,
        exclude: add.exclude,
        link: add.link,
        parents: false,
        keep_git_dir: add.keep_git_dir,
        checksum: add.checksum,
        unpack: add.unpack,
    };
    transfer_files(cx, stage, transfer)?;
    for source in paths.iter().filter(|it| !remote::has_http_scheme(it)) {
        stage.use_context_path(source);
    }
    Ok(())
}

pub(crate) fn copy(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    copy: Copy,
    source: Option<StageId>,
) -> Result<(), LowerError> {
    let paths = copy.sources.paths.clone();
    let from = match source {
        None => cx.context.clone(),
        Some(id) if cx.stages[id].phase == Phase::Done => cx.stages[id].state(),
        Some(_) => {
            let (from, stage) = (copy.from, stage.label.clone());
            return Err(LowerErrorKind::CopyFromLater { from, stage }.into());
        }
    };
    let transfer = Transfer {
        at,
        kind: if source.is_some() {
            Kind::CopyStage
        } else {
            Kind::CopyContext
        },
        sources: copy.sources,
        from,
        chown: copy.chown,
        chmod: copy.chmod,
        exclude: copy.exclude,
        link: copy.link,
        parents: copy.parents,
        keep_git_dir: None,
        checksum: String::new(),
        unpack: None,
    };
    transfer_files(cx, stage, transfer)?;
    for path in &paths {
        match source {
            Some(id) => cx.stages[id].use_path(path),
            None => stage.use_context_path(path),
        }
    }
    Ok(())
}

fn transfer_files(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    mut transfer: Transfer<'_>,
) -> Result<(), LowerError> {
    let mode = parse_mode(&transfer.chmod)?;
    check_checksum(&transfer)?;
    let platform = stage.platform_or(&cx.targets);
    let state = stage.state();
    let settings = state.settings();
    let naming = Naming {
        multi_platform: cx.options.multi_platform,
        platform: Some(&platform),
        env: &settings.env,
    };
    let text = command_text(&cx.lexer, transfer.at.source, &settings.env);
    let name = number_step(stage, &text, &naming);
    let style = PathStyle::of(&platform);
    let dest = destination(style, &settings.dir, &transfer.sources.destination)?;
    let template = Template {
        dest,
        mode,
        transfer_owner: &transfer.chown.clone(),
        exclude: transfer.exclude.clone(),
    };
    let line = history_line(&transfer);

    let mut actions = FileActions::new();
    for source in std::mem::take(&mut transfer.sources.paths) {
        let copy = match remote::fetch(&mut transfer, &source, &name)? {
            Some(fetched) => template.fill(fetched),
            None => template.fill(local_copy(cx, &transfer, style, &source)?),
        };
        actions.copy(copy);
    }
    for content in std::mem::take(&mut transfer.sources.contents) {
        actions.copy(template.fill(inline_copy(style, content, &platform)?));
    }

    let constraints = constraints(cx, stage, name.clone(), transfer.at.location);
    let linked =
        transfer.link && transfer.chmod.is_empty() && cx.options.caps.supports(caps::MERGE_OP);
    if linked {
        let link_name = number_same_step(stage, &format!("LINK {text}"), &naming);
        link(
            stage,
            actions,
            &platform,
            Link {
                constraints,
                name,
                link_name,
            },
        );
    } else {
        stage.update(|state| state.file(actions, constraints));
    }
    commit(stage, cx.epoch, line, Effect::MarkedLayer);
    Ok(())
}

/// What all copies of an instruction share.
struct Template<'a> {
    dest: String,
    mode: Mode,
    transfer_owner: &'a str,
    exclude: Vec<String>,
}

impl Template<'_> {
    fn fill(&self, mut copy: build::Copy) -> build::Copy {
        copy.dest = self.dest.clone();
        copy.mode = self.mode.clone();
        copy.owner = (!self.transfer_owner.is_empty()).then(|| Owner::parse(self.transfer_owner));
        copy.exclude = self.exclude.clone();
        copy.create_dest = true;
        copy
    }
}

struct Link {
    constraints: Constraints,
    name: String,
    link_name: String,
}

/// Makes a layer that does not depend on what is below, and puts it on top.
fn link(stage: &mut Stage, actions: FileActions, platform: &Platform, link: Link) {
    // Tells this group apart from all others, and is the same in every build.
    let id = kiln_llb::digest_of(format!("{:?} {}", stage.location, link.name)).digest()[..25]
        .to_string();
    let group = |weak| pb::ProgressGroup {
        id: id.clone(),
        name: link.name.clone(),
        weak,
    };
    let layer_constraints = link
        .constraints
        .clone()
        .platform(platform.clone())
        .progress_group(group(true));
    let layer = State::scratch().file(actions, layer_constraints);
    let merge_constraints = link
        .constraints
        .progress_group(group(false))
        .name(link.link_name);
    stage.update(|state| {
        let merged = State::merge(&[state.clone(), layer], merge_constraints);
        state.with_files_of(&merged)
    });
}

fn history_line(transfer: &Transfer<'_>) -> String {
    let mut line = if transfer.kind == Kind::Add {
        "ADD".to_string()
    } else {
        "COPY".to_string()
    };
    if transfer.parents {
        line.push_str(" --parents");
    }
    for (flag, value) in [("chown", &transfer.chown), ("chmod", &transfer.chmod)] {
        if !value.is_empty() {
            line.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in &transfer.sources.paths {
        line.push_str(&format!(" {source}"));
    }
    for content in &transfer.sources.contents {
        line.push_str(&format!(" <<{}", content.path));
    }
    line.push_str(&format!(" {}", transfer.sources.destination));
    line
}

/// Where files go: relative to the working directory. A trailing slash stays, it means a directory.
fn destination(style: PathStyle, dir: &str, dest: &str) -> Result<String, LowerErrorKind> {
    let dest = style.without_drive(dest, Ending::Keep)?;
    if path::is_abs(&dest) {
        return style.resolve("/", &dest, Ending::Keep);
    }
    let dest = if dest.is_empty() || dest == "." {
        "./"
    } else {
        dest.as_str()
    };
    style.resolve(dir, dest, Ending::Keep)
}

fn parse_mode(chmod: &str) -> Result<Mode, LowerError> {
    if chmod.is_empty() {
        return Ok(Mode::Keep);
    }
    if chmod.bytes().all(|b| b.is_ascii_digit()) || chmod.starts_with(|c: char| c.is_ascii_digit())
    {
        return match u32::from_str_radix(chmod, 8) {
            Ok(bits) if bits <= 0o7777 => Ok(Mode::Bits(bits)),
            _ => Err(LowerErrorKind::ChmodNumber(chmod.into()).into()),
        };
    }
    if is_symbolic_mode(chmod) {
        return Ok(Mode::Symbolic(chmod.into()));
    }
    Err(LowerErrorKind::Chmod(chmod.into()).into())
}

/// `[ugoa…][+-=][rwxXstugo…]`, several operations per clause, several clauses with commas between.
fn is_symbolic_mode(mode: &str) -> bool {
    mode.split(',').all(|clause| {
        let operations = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        operations.starts_with(['+', '-', '='])
            && operations.chars().all(|c| "+-=rwxXstugo".contains(c))
    })
}

fn check_checksum(transfer: &Transfer<'_>) -> Result<(), LowerError> {
    if transfer.checksum.is_empty() {
        return Ok(());
    }
    match transfer.sources.paths.as_slice() {
        [only] if remote::is_remote(only) => Ok(()),
        [_] => Err(LowerErrorKind::ChecksumLocal.into()),
        _ => Err(LowerErrorKind::ChecksumSources.into()),
    }
}

/// A path of the context or of a stage.
fn local_copy(
    cx: &mut Context<'_>,
    transfer: &Transfer<'_>,
    style: PathStyle,
    source: &str,
) -> Result<build::Copy, LowerErrorKind> {
    match transfer.kind {
        Kind::Add => checks::ignored_source(cx, transfer.at, "Add", source),
        Kind::CopyContext => checks::ignored_source(cx, transfer.at, "Copy", source),
        Kind::CopyStage => {}
    }
    let rooted = |path: &str| style.resolve("/", path, Ending::Drop);
    let mut source = source;
    let (mut include, mut required) = (Vec::new(), Vec::new());
    if transfer.parents {
        // What stands before `/./` is not kept.
        let (parent, pattern) = source.split_once("/./").unwrap_or(("/", source));
        let pattern = rooted(pattern)?;
        include = vec![pattern.strip_prefix('/').unwrap_or(&pattern).to_string()];
        if !has_wildcards(parent) && !has_wildcards(&pattern) {
            required = vec![rooted(&path::join([parent, pattern.as_str()]))?];
        }
        source = parent;
    }
    let mut copy = build::Copy::new(transfer.from.clone(), rooted(source)?, "");
    copy.include = include;
    copy.required = required;
    copy.follow_symlinks = true;
    copy.contents_only = true;
    copy.unpack = transfer.unpack.unwrap_or(transfer.kind == Kind::Add);
    copy.wildcard = true;
    copy.empty_wildcard = true;
    Ok(copy)
}

fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// A heredoc becomes a file of its own filesystem.
fn inline_copy(
    style: PathStyle,
    content: SourceContent,
    platform: &Platform,
) -> Result<build::Copy, LowerErrorKind> {
    let path = style.without_drive(&content.path, Ending::Drop)?;
    let file = inline_file(&path, 0o644, content.data, platform);
    Ok(build::Copy::new(file, path, ""))
}

/// A filesystem with one file.
pub(crate) fn inline_file(path: &str, mode: u32, data: String, platform: &Platform) -> State {
    let mut actions = FileActions::new();
    actions.make_file(MakeFile {
        path: path.into(),
        mode,
        data: data.into(),
        ..Default::default()
    });
    let constraints = Constraints::named(internal("preparing inline document"));
    State::scratch().file(actions, constraints.platform(platform.clone()))
}
