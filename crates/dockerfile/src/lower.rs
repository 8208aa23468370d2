//! Lowering: from a parsed Dockerfile to LLB and an image configuration.
//!
//! The stages are planned (`plan`), their bases resolved (`base`), their instructions lowered one by one
//! (`dispatch`), and the last stage or the target is the result. Whatever must be known of the world is
//! asked for ([`Question`]); with every question answered, lowering is a pure function.

mod args;
mod base;
mod capture;
mod checks;
mod config;
mod context;
mod copy;
mod dispatch;
mod epoch;
mod error;
mod expose;
mod history;
mod ignored;
mod input;
mod mounts;
mod named;
mod names;
mod paths;
mod plan;
mod remote;
mod run;
mod scan;
mod stage;
mod triggers;
mod variables;

use crate::directive::{DirectiveName, find_directive};
use crate::error::SyntaxError;
use crate::image::ImageConfig;
use crate::known::{Known, Oracle, Question};
use crate::lint::{LintConfig, Linter, Warning, check_instructions, check_syntax};
use crate::options::Options;
use crate::parse::{Dockerfile, parse, parse_part};
use crate::sbom::ScanTargets;
use crate::shell::Lexer;
use crate::subrequest::{Answering, Response};
use bytes::Bytes;
use kiln_llb::build::{Deferred, Env, SourceMap, State};
use kiln_llb::{Definition, pb, platform};
use kiln_store::pattern::PatternMatcher;
use oci_spec::image::Platform;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use context::{DockerfileLocation, load_dockerfile, load_dockerignore};
pub use error::{LowerError, LowerErrorKind};

pub(crate) use capture::Capture;
pub(crate) use stage::{Stage, StageId};

use error::Stop;
use named::PendingLocal;

/// A Dockerfile with what surrounds it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The parsed file.
    pub file: Dockerfile,
    /// Its name, text and the definition it was read with.
    pub map: Arc<SourceMap>,
    /// `<Dockerfile>.dockerignore`, if there is one: it takes the place of the context's own.
    pub ignore: Option<Bytes>,
}

impl Source {
    /// Parses `text`, the file `filename` of the result of `definition`.
    pub fn parse(
        filename: &str,
        text: Bytes,
        definition: Option<Definition>,
    ) -> Result<Self, SyntaxError> {
        Ok(Self {
            file: parse(&text)?,
            map: Arc::new(SourceMap {
                definition,
                filename: filename.into(),
                language: "Dockerfile".into(),
                data: text,
            }),
            ignore: None,
        })
    }

    /// Adds the ignore file that belongs to this Dockerfile alone.
    pub fn with_ignore(mut self, content: Option<Bytes>) -> Self {
        self.ignore = content;
        self
    }
}

/// How far lowering came.
#[derive(Debug)]
pub enum Lowering {
    /// Everything is known.
    Done(Box<Lowered>),
    /// These questions are open.
    Needs(Vec<Question>),
}

/// A lowered Dockerfile.
#[derive(Debug)]
pub struct Lowered {
    /// What to solve.
    pub definition: Definition,
    /// The image's configuration, without layers.
    pub image: ImageConfig,
    /// The configuration of the image at the bottom.
    pub base_image: Option<ImageConfig>,
    /// The platform of the result.
    pub platform: Platform,
    /// What should be written otherwise.
    pub warnings: Vec<Warning>,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub epoch: Option<i64>,
    /// What there is to scan for an SBOM.
    pub scan: ScanTargets,
}

/// Lowers `source` for one platform.
pub fn lower(source: &Source, options: &Options, known: &Known) -> Result<Lowering, LowerError> {
    let mut cx = Context::new(source, options, known)?;
    match run(&mut cx, Scope::Target) {
        Ok(target) => {
            let warnings = cx.linter.warnings().to_vec();
            match finish(cx, target) {
                Ok(lowered) => Ok(Lowering::Done(Box::new(lowered))),
                Err(error) => Err(LowerError { warnings, ..error }),
            }
        }
        Err(Stop::Open) => Ok(Lowering::Needs(cx.oracle.into_open())),
        Err(Stop::Error(error)) => Err(LowerError {
            warnings: cx.linter.into_warnings(),
            ..error
        }),
    }
}

/// Lowers `source` and looks at what came of it, also at an error.
pub(crate) fn inspect(
    source: &Source,
    options: &Options,
    known: &Known,
    scope: Scope,
    look: impl FnOnce(&Context<'_>, Result<StageId, LowerError>) -> Result<Response, LowerError>,
) -> Result<Answering, LowerError> {
    let mut cx = Context::new(source, options, known)?;
    let target = match run(&mut cx, scope) {
        Ok(target) => cx
            .linter
            .verdict()
            .map(|()| target)
            .map_err(LowerError::from),
        Err(Stop::Open) => return Ok(Answering::Needs(cx.oracle.into_open())),
        Err(Stop::Error(error)) => Err(error),
    };
    let target = target.map_err(|error| LowerError {
        warnings: cx.linter.warnings().to_vec(),
        ..error
    });
    look(&cx, target).map(Answering::Done)
}

/// Which stages are lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those the target needs.
    Target,
    /// All, to judge them.
    AllStages,
}

/// The platforms of a build.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    /// What is built for.
    pub(crate) target: Platform,
    /// What builds.
    pub(crate) build: Platform,
    /// Whether nobody asked for the target: then the base image may decide.
    pub(crate) choice: Choice,
}

/// Who chose the target platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Implicit,
    Explicit,
}

/// Everything that instructions are lowered with.
pub(crate) struct Context<'a> {
    pub(crate) source: &'a Source,
    pub(crate) options: &'a Options,
    pub(crate) oracle: Oracle<'a>,
    pub(crate) lexer: Lexer,
    pub(crate) targets: Targets,
    pub(crate) linter: Linter,
    /// `--build-arg`, with `SOURCE_DATE_EPOCH` in seconds.
    pub(crate) build_args: BTreeMap<String, String>,
    /// Predefined arguments and those before the first stage.
    pub(crate) global_args: Env,
    pub(crate) epoch: Option<i64>,
    pub(crate) proxy: Option<pb::ProxyEnv>,
    pub(crate) capture: Capture,
    pub(crate) stages: Vec<Stage>,
    /// Stages by name, in lower case; the last of a name counts.
    pub(crate) by_name: BTreeMap<String, StageId>,
    /// The build context, known in full at the end.
    pub(crate) context: State,
    pub(crate) context_end: Deferred,
    /// Patterns of the context's ignore file.
    pub(crate) ignored: Vec<String>,
    pub(crate) matcher: Option<PatternMatcher>,
    /// Contexts in client directories, known in full at the end.
    pub(crate) pending: Vec<PendingLocal>,
}

impl<'a> Context<'a> {
    fn new(source: &'a Source, options: &'a Options, known: &'a Known) -> Result<Self, LowerError> {
        let build = options
            .build_platforms
            .first()
            .cloned()
            .unwrap_or_else(platform::host);
        let (context, context_end) = State::deferred();
        Ok(Self {
            source,
            options,
            oracle: Oracle::new(known),
            lexer: Lexer::new(source.file.escape),
            targets: Targets {
                target: options
                    .target_platform
                    .clone()
                    .unwrap_or_else(|| build.clone()),
                choice: if options.target_platform.is_some() {
                    Choice::Explicit
                } else {
                    Choice::Implicit
                },
                build,
            },
            linter: Linter::new(lint_config(&source.map.data, options)?),
            build_args: options.build_args.clone(),
            global_args: Env::default(),
            epoch: None,
            proxy: args::proxy(&options.build_args),
            capture: Capture::default(),
            stages: Vec::new(),
            by_name: BTreeMap::new(),
            context,
            context_end,
            ignored: Vec::new(),
            matcher: None,
            pending: Vec::new(),
        })
    }
}

/// What should be written otherwise above the error of a Dockerfile that cannot be
/// parsed; nothing if the choice of rules is no better.
pub fn lint_part(text: &[u8], options: &Options) -> Vec<Warning> {
    let Ok(config) = lint_config(text, options) else {
        return Vec::new();
    };
    let mut linter = Linter::new(config);
    check_instructions(&parse_part(text), &mut linter);
    linter.into_warnings()
}

fn lint_config(text: &[u8], options: &Options) -> Result<LintConfig, LowerError> {
    if let Some(config) = &options.lint {
        return Ok(config.clone());
    }
    match find_directive(DirectiveName::Check, text) {
        Some(directive) => {
            Ok(LintConfig::parse(directive.first_word()).map_err(LowerErrorKind::from)?)
        }
        None => Ok(LintConfig::default()),
    }
}

/// Lowers the stages; the target's id.
pub(crate) fn run(cx: &mut Context<'_>, scope: Scope) -> Result<StageId, Stop> {
    check_syntax(&cx.source.file, &mut cx.linter);
    let last_name = cx
        .source
        .file
        .stages
        .last()
        .and_then(|stage| stage.name.as_deref());
    let target_stage = match cx.options.target.as_str() {
        "" => last_name.unwrap_or_default(),
        target => target,
    };
    let predefined = args::predefined(&cx.targets, &cx.build_args, target_stage);
    checks::default_bases(cx, &predefined);
    let (global_args, meta_args) = args::with_meta_args(
        predefined,
        &cx.lexer,
        &cx.source.file.meta_args,
        &cx.build_args,
    )?;
    cx.global_args = global_args;
    cx.capture.args = meta_args;
    epoch::resolve(cx)?;
    plan::stages(cx)?;
    let target = plan::target(cx)?;
    plan::needs(cx)?;
    base::resolve(cx, target, scope)?;
    dispatch::stages(cx, target, scope)?;
    Ok(target)
}

fn finish(mut cx: Context<'_>, target: StageId) -> Result<Lowered, LowerError> {
    let labels = cx.options.labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    cx.stages[target].image.config.labels.extend(labels);
    cx.linter.verdict().map_err(LowerErrorKind::from)?;
    for pending in std::mem::take(&mut cx.pending) {
        pending.resolve();
    }
    let scan = scan::targets(&cx, target);
    let stage = &mut cx.stages[target];
    if cx.targets.choice == Choice::Explicit {
        dispatch::set_target_platform(&mut stage.image, &cx.targets.target);
    }
    let normal = platform::normalize(&stage.image.platform());
    stage.image.set_platform(&normal);
    let marshal_options = context::target_marshal_options(cx.options, &cx.targets.target);
    let state = stage.state();
    let definition = state
        .marshal(&marshal_options)
        .map_err(LowerErrorKind::from)?;
    Ok(Lowered {
        definition,
        image: stage.image.clone(),
        base_image: stage.base_image.clone(),
        platform: result_platform(cx.options, &stage.image),
        warnings: cx.linter.into_warnings(),
        epoch: cx.epoch,
        scan,
    })
}

/// The platform that the result is exported as. Windows images bring their version along.
fn result_platform(options: &Options, image: &ImageConfig) -> Platform {
    let asked = options
        .target_platform
        .clone()
        .unwrap_or_else(platform::host);
    let mut result = platform::normalize(&asked);
    if result.os().to_string() == "windows" && image.os == "windows" {
        let built = image.platform();
        if result.os_version().is_none() {
            result.set_os_version(built.os_version().clone());
        }
        if result.os_features().is_none() {
            result.set_os_features(built.os_features().clone());
        }
    }
    result
}
