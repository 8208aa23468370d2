//! Named contexts: images, layouts, directories and repositories given by the caller under a name that
//! stages and images can be replaced with.

use super::Context;
use super::context::{git, input_state, marshal_options, read_file};
use super::error::{LowerErrorKind, Stop};
use super::stage::{UsedPaths, follow_paths};
use crate::LowerError;
use crate::image::{ImageConfig, split_env};
use crate::known::{Answer, ImageQuestion, OciLayoutQuestion, Question, ResolvedConfig};
use crate::lower::ignored as ignore;
use crate::options::{IGNORE_FILE, Options};
use kiln_llb::build::{
    Constraints, Deferred, Differ, GitOptions, HttpOptions, ImageOptions, LocalOptions,
    OciLayoutOptions, State,
};
use kiln_llb::{platform, reference};
use oci_spec::image::Platform;

/// How often a policy may send a context elsewhere.
const MAX_REDIRECTS: usize = 10;

/// A named context that applies, not loaded yet.
#[derive(Clone, Debug)]
pub(crate) struct NamedContext {
    /// What it is, `scheme:rest`.
    specifier: String,
    name: String,
    /// The name with its platform, if the caller gave one per platform.
    full_name: String,
    platform: Option<Platform>,
}

/// A named context's files and, if it is an image, its configuration.
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) image: Option<ImageConfig>,
}

/// A client directory of which only used paths are sent, once they are known.
#[derive(Debug)]
pub(crate) struct PendingLocal {
    deferred: Deferred,
    paths: UsedPaths,
    directory: String,
    options: LocalOptions,
}

impl PendingLocal {
    /// Fills the state in.
    pub(crate) fn resolve(self) {
        let options = LocalOptions {
            follow: follow_paths(&self.paths.borrow()),
            ..self.options
        };
        self.deferred
            .resolve(&State::local(&self.directory, options));
    }
}

/// The context that takes the place of the stage or image `name`, if there is one.
pub(crate) fn find(
    options: &Options,
    name: &str,
    platform: Option<&Platform>,
) -> Result<Option<NamedContext>, LowerError> {
    if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
        return Ok(None);
    }
    find_any(options, name, platform.or(options.target_platform.as_ref()))
}

/// Like [`find`], for any name.
pub(crate) fn find_any(
    options: &Options,
    name: &str,
    platform: Option<&Platform>,
) -> Result<Option<NamedContext>, LowerError> {
    let named = reference::parse(name).map_err(|source| LowerErrorKind::ContextName {
        name: name.into(),
        source,
    })?;
    let familiar = named.familiar();
    let name = familiar
        .strip_suffix(":latest")
        .unwrap_or(&familiar)
        .to_string();
    let suffix = platform.map_or_else(platform::host, platform::normalize);
    let with_platform = format!("{name}::{}", platform::format_all(&suffix));
    let found = [with_platform, name.clone()]
        .into_iter()
        .find_map(|full_name| {
            let specifier = options.context.named.get(&full_name)?.clone();
            Some(NamedContext {
                specifier,
                name: name.clone(),
                full_name,
                platform: platform.cloned(),
            })
        });
    Ok(found)
}

/// Loads a context, whose used paths are collected in `paths`.
pub(crate) fn load(
    cx: &mut Context<'_>,
    context: &NamedContext,
    paths: &UsedPaths,
) -> Result<Loaded, Stop> {
    let mut context = context.clone();
    for _ in 0..=MAX_REDIRECTS {
        match load_once(cx, &context, paths)? {
            Step::Loaded(loaded) => return Ok(*loaded),
            Step::Redirected(identifier) => {
                let (scheme, rest) = identifier.split_once("://").unwrap_or((&identifier, ""));
                context.specifier = format!("{scheme}:{rest}");
            }
        }
    }
    Err(LowerErrorKind::ContextRecursion(context.specifier).into())
}

enum Step {
    Loaded(Box<Loaded>),
    Redirected(String),
}

fn files(state: State) -> Step {
    Step::Loaded(Box::new(Loaded { state, image: None }))
}

fn load_once(
    cx: &mut Context<'_>,
    context: &NamedContext,
    paths: &UsedPaths,
) -> Result<Step, Stop> {
    let specifier = context.specifier.as_str();
    let Some((scheme, rest)) = specifier.split_once(':') else {
        return Err(LowerErrorKind::ContextSpecifier {
            specifier: specifier.into(),
            name: context.full_name.clone(),
        }
        .into());
    };
    let not_git = || LowerErrorKind::GitContext(specifier.into());
    match scheme {
        "docker-image" => load_image(cx, context, rest.trim_start_matches("//")),
        "oci-layout" => load_layout(cx, context, rest.trim_start_matches("//")),
        "local" => Ok(files(load_local(cx, context, rest, paths)?)),
        "input" => load_input(cx, context, rest),
        _ if scheme == "git" || scheme.starts_with("git@") => Ok(files(
            git(specifier, GitOptions::default())?.ok_or_else(not_git)?,
        )),
        "http" | "https" => match git(specifier, GitOptions::default())? {
            Some(state) => Ok(files(state)),
            None => {
                let name = format!("[context {}] {specifier}", context.full_name);
                let options = HttpOptions {
                    filename: "context".into(),
                    constraints: Constraints::named(name),
                    ..Default::default()
                };
                Ok(files(State::http(specifier, options)))
            }
        },
        _ => Err(LowerErrorKind::ContextScheme {
            scheme: scheme.into(),
            name: context.full_name.clone(),
        }
        .into()),
    }
}

fn constraints(context: &NamedContext, text: &str) -> Constraints {
    let constraints = Constraints::named(format!("[context {}] {text}", context.full_name));
    match &context.platform {
        Some(platform) => constraints.platform(platform.clone()),
        None => constraints,
    }
}

fn load_image(cx: &Context<'_>, context: &NamedContext, name: &str) -> Result<Step, Stop> {
    if name == "scratch" {
        return Ok(files(State::scratch()));
    }
    let bad_name = |source| LowerErrorKind::ContextName {
        name: name.into(),
        source,
    };
    let reference = reference::normalize(name).map_err(bad_name)?;
    let question = Question::ImageConfig(ImageQuestion {
        log_name: format!(
            "[context {}] load metadata for {reference}",
            context.full_name
        ),
        reference,
        platform: context.platform.clone().unwrap_or_else(platform::host),
        resolve_mode: cx.options.resolve_mode,
    });
    let resolved = match cx.oracle.ask(question)? {
        Answer::Config(resolved) => resolved,
        Answer::Redirect(identifier) => return Ok(Step::Redirected(identifier.clone())),
        _ => return Ok(files(State::scratch())),
    };
    let options = ImageOptions {
        constraints: constraints(context, name),
        ..Default::default()
    };
    let state = State::image(&resolved.reference, options).map_err(bad_name)?;
    let mut step = with_config(state, resolved)?;
    if let Step::Loaded(loaded) = &mut step
        && let Some(image) = &mut loaded.image
    {
        image.created = None;
    }
    Ok(step)
}

fn with_config(state: State, resolved: &ResolvedConfig) -> Result<Step, LowerError> {
    let image = ImageConfig::parse(&resolved.config).map_err(LowerErrorKind::from)?;
    Ok(Step::Loaded(Box::new(Loaded {
        state: apply_config(&state, &image),
        image: Some(image),
    })))
}

/// Runs processes as an image's configuration says.
fn apply_config(state: &State, image: &ImageConfig) -> State {
    let mut state = state.clone();
    for (name, value) in image.config.env.iter().map(|it| split_env(it)) {
        if !name.is_empty() {
            state = state.add_env(name, value);
        }
    }
    state = state.dir(&image.config.working_dir);
    if !image.architecture.is_empty() && !image.os.is_empty() {
        state = state.platform(&image.platform());
    }
    state
}

fn load_layout(cx: &Context<'_>, context: &NamedContext, name: &str) -> Result<Step, Stop> {
    let Some((store, digest)) = name.split_once('@') else {
        return Err(LowerErrorKind::OciLayoutDigest(name.into()).into());
    };
    let store = match store.rsplit_once(':') {
        Some((store, tag)) if !tag.contains('/') => store,
        _ => store,
    };
    // Which layout it is says the store; the name only shows up in messages.
    let shown = reference::parse(&context.name).map_err(|source| LowerErrorKind::ContextName {
        name: context.name.clone(),
        source,
    })?;
    let shown = shown.with_digest(digest).to_string();
    let session = cx.options.context.session.clone();
    let question = Question::OciLayoutConfig(OciLayoutQuestion {
        reference: shown.clone(),
        platform: context.platform.clone(),
        session: session.clone(),
        store: store.into(),
        log_name: format!("[context {}] load metadata for {shown}", context.full_name),
    });
    let Answer::Config(resolved) = cx.oracle.ask(question)? else {
        return Ok(files(State::scratch()));
    };
    let options = OciLayoutOptions {
        session: Some(session),
        store: Some(store.into()),
        layer_limit: None,
        constraints: constraints(context, "OCI load from client"),
    };
    Ok(with_config(State::oci_layout(&shown, options), resolved)?)
}

fn load_local(
    cx: &mut Context<'_>,
    context: &NamedContext,
    directory: &str,
    paths: &UsedPaths,
) -> Result<State, Stop> {
    let session = cx.options.context.session_of(directory).to_string();
    let full_name = &context.full_name;
    let ignore_file = State::local(
        directory,
        LocalOptions {
            session: Some(session.clone()),
            follow: vec![IGNORE_FILE.into()],
            shared_key_hint: format!("context:{full_name}-{IGNORE_FILE}"),
            differ: Some(Differ::None),
            constraints: Constraints::named(format!("[context {full_name}] load {IGNORE_FILE}")),
            ..Default::default()
        },
    );
    let definition = ignore_file
        .marshal(&marshal_options(cx.options))
        .map_err(LowerErrorKind::from)?;
    let content = read_file(&cx.oracle, &definition, IGNORE_FILE, None)?;
    let exclude = ignore::read(content.as_deref())?;
    let shared_key = cx.options.context.shared_keys.get(full_name);
    let options = LocalOptions {
        session: Some(session),
        exclude,
        shared_key_hint: format!(
            "context:{full_name}-{}",
            shared_key.map_or("", String::as_str)
        ),
        constraints: Constraints::named(format!("[context {full_name}] load from client")),
        ..Default::default()
    };
    let (state, deferred) = State::deferred();
    cx.pending.push(PendingLocal {
        deferred,
        paths: paths.clone(),
        directory: directory.into(),
        options,
    });
    Ok(state)
}

fn load_input(cx: &Context<'_>, context: &NamedContext, input: &str) -> Result<Step, Stop> {
    let Some(definition) = cx.options.context.inputs.get(input) else {
        return Err(LowerErrorKind::Input {
            input: input.into(),
            name: context.full_name.clone(),
        }
        .into());
    };
    let state = input_state(input, definition)?;
    let Some(metadata) = cx.options.context.input_metadata.get(input) else {
        return Ok(files(state));
    };
    let Some(config) = super::input::image_config(metadata)? else {
        return Ok(files(state));
    };
    let image = ImageConfig::parse(&config).map_err(LowerErrorKind::from)?;
    Ok(Step::Loaded(Box::new(Loaded {
        state: apply_config(&state, &image),
        image: Some(image),
    })))
}
