//! `SOURCE_DATE_EPOCH`: a number, or the context or stage whose own time it is.

use super::context::{self, marshal_options};
use super::error::{LowerError, LowerErrorKind, Stop};
use super::stage::UsedPaths;
use super::{Context, named, remote};
use crate::instruction::{Add, Command};
use crate::known::{Answer, Question};
use crate::parse;
use crate::shell::Lexer;
use kiln_llb::build::{Constraints, Env, GitOptions, HttpOptions, State};
use kiln_llb::pb::{self, op};
use prost::Message as _;

const NAME: &str = "SOURCE_DATE_EPOCH";

/// Finds the epoch out and puts its number in the argument's place.
pub(crate) fn resolve(cx: &mut Context<'_>) -> Result<(), Stop> {
    let given = cx.build_args.get(NAME).cloned();
    let global = cx.global_args.get(NAME).filter(|it| !it.is_empty());
    let Some(value) = given.or_else(|| global.map(Into::into)) else {
        return Ok(());
    };
    cx.epoch = epoch(cx, &value)?;
    let text = cx.epoch.map(|seconds| seconds.to_string());
    if cx.build_args.contains_key(NAME) {
        cx.build_args.remove(NAME);
        if let Some(text) = &text {
            cx.build_args.insert(NAME.into(), text.clone());
        }
    }
    if cx.global_args.get(NAME).is_some() {
        match text {
            Some(text) => cx.global_args.set(NAME, text),
            None => cx.global_args.remove(NAME),
        }
    }
    Ok(())
}

fn epoch(cx: &mut Context<'_>, value: &str) -> Result<Option<i64>, Stop> {
    if value.is_empty() {
        return Ok(None);
    }
    if let Ok(seconds) = value.parse() {
        return Ok(Some(seconds));
    }
    if value == "context" {
        return match context::remote(cx.options, &cx.oracle)? {
            Some(remote) => time_of(
                cx,
                &remote.source,
                "[internal] resolve main build context metadata",
            ),
            None => Ok(None),
        };
    }
    if let Some(context) = named::find_any(cx.options, value, None)? {
        let loaded = named::load(cx, &context, &UsedPaths::default())?;
        let log_name = format!("[internal] resolve SOURCE_DATE_EPOCH named context {value}");
        return time_of(cx, &loaded.state, &log_name);
    }
    let name = value.to_lowercase();
    let file = &cx.source.file;
    let Some(stage) = file
        .stages
        .iter()
        .find(|stage| stage.name.as_ref() == Some(&name))
    else {
        return Err(LowerErrorKind::Epoch(value.into()).into());
    };
    let source = stage_source(cx, stage).map_err(|error| error.at(stage.location))?;
    time_of(
        cx,
        &source,
        &format!("[internal] resolve SOURCE_DATE_EPOCH source stage {name}"),
    )
}

/// When a source last changed. Only downloads and repositories know.
fn time_of(cx: &Context<'_>, state: &State, log_name: &str) -> Result<Option<i64>, Stop> {
    let definition = state
        .marshal(&marshal_options(cx.options))
        .map_err(LowerErrorKind::from)?;
    let sources =
        definition
            .ops
            .iter()
            .filter_map(|bytes| match pb::Op::decode(bytes.clone()).ok()?.op? {
                op::Op::Source(source) => Some(source),
                _ => None,
            });
    let sources: Vec<pb::SourceOp> = sources.collect();
    let [source] = sources.as_slice() else {
        return Ok(None);
    };
    let dated = ["git://", "http://", "https://"]
        .iter()
        .any(|it| source.identifier.starts_with(it));
    if !dated {
        return Ok(None);
    }
    let question = Question::SourceTime {
        identifier: source.identifier.clone(),
        attrs: source.attrs.clone(),
        log_name: log_name.into(),
    };
    match cx.oracle.ask(question)? {
        Answer::Time(seconds) => Ok(*seconds),
        _ => Ok(None),
    }
}

/// The download of a stage that is nothing but one.
fn stage_source(cx: &Context<'_>, stage: &parse::Stage) -> Result<State, LowerError> {
    const ONE_ADD: LowerErrorKind =
        LowerErrorKind::EpochStage("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD");
    let mut env = cx.global_args.clone();
    env.remove(NAME);
    if cx.lexer.expand(&stage.base, &env)?.text != super::plan::SCRATCH {
        return Err(
            LowerErrorKind::EpochStage("SOURCE_DATE_EPOCH stage must use FROM scratch").into(),
        );
    }
    let mut source = None;
    for command in &stage.commands {
        match &command.value {
            Command::Arg(arg) => {
                for definition in &arg.args {
                    let given = cx.build_args.get(&definition.name).cloned();
                    let value = match (given, &definition.value) {
                        (Some(given), _) => given,
                        (None, Some(default)) => cx.lexer.expand(default, &env)?.text,
                        (None, None) => continue,
                    };
                    env.set(definition.name.as_str(), value);
                }
            }
            Command::Add(_) if source.is_some() => return Err(ONE_ADD.into()),
            Command::Add(add) => source = Some(add_source(&cx.lexer, add, &env)?),
            _ => return Err(LowerErrorKind::EpochInstruction(command.keyword.clone()).into()),
        }
    }
    source.ok_or_else(|| ONE_ADD.into())
}

fn add_source(lexer: &Lexer, add: &Add, env: &Env) -> Result<State, LowerError> {
    let (true, [only]) = (
        add.sources.contents.is_empty(),
        add.sources.paths.as_slice(),
    ) else {
        let text = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source";
        return Err(LowerErrorKind::EpochStage(text).into());
    };
    let source = lexer.expand(only, env)?.text;
    let checksum = lexer.expand(&add.checksum, env)?.text;
    if let Some(reference) = remote::git_ref(&source)? {
        let options = GitOptions {
            reference: reference.reference,
            subdir: reference.subdir,
            keep_git_dir: add.keep_git_dir == Some(true) || reference.keep_git_dir == Some(true),
            checksum: if checksum.is_empty() {
                reference.checksum
            } else {
                checksum
            },
            skip_submodules: reference.submodules == Some(false),
            constraints: Constraints::new(),
            ..Default::default()
        };
        return Ok(State::git(&reference.remote, options));
    }
    if !remote::has_http_scheme(&source) {
        let text = "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD";
        return Err(LowerErrorKind::EpochStage(text).into());
    }
    let options = HttpOptions {
        checksum: remote::checksum(&checksum)?,
        filename: remote::filename(&source),
        ..Default::default()
    };
    Ok(State::http(&source, options))
}
