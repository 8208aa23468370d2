//! The build context and the Dockerfile: the states that read them.

use super::error::{LowerErrorKind, Stop};
use super::names::internal;
use crate::known::{Answer, Known, Oracle, Question};
use crate::options::{CONTEXT, DOCKERFILE, IGNORE_FILE, Options};
use crate::{LowerError, archive};
use bytes::Bytes;
use kiln_llb::Definition;
use kiln_llb::build::{
    Constraints, Copy, Differ, FileActions, GitOptions, HttpOptions, LocalOptions, MarshalOptions,
    State,
};
use kiln_llb::git_url::{GitRef, GitUrlError};
use kiln_llb::path;
use oci_spec::image::Platform;

/// Name of the file that a downloaded context is.
const DOWNLOAD: &str = "context";

/// A build context that is no client directory.
pub(crate) struct RemoteContext {
    /// The files to build with.
    pub(crate) state: State,
    /// The files with the Dockerfile.
    pub(crate) dockerfile: State,
    /// Path of the Dockerfile in there.
    pub(crate) filename: String,
    /// What was fetched, for its time.
    pub(crate) source: State,
}

/// How to read the Dockerfile, or what must be known first.
#[derive(Clone, Debug, PartialEq)]
pub enum DockerfileLocation {
    /// Solve this and read a file of the result.
    At {
        /// What to solve.
        definition: Definition,
        /// The file.
        filename: String,
    },
    /// Answer these first.
    Needs(Vec<Question>),
}

/// Finds out where the Dockerfile is. Beside it may lie `<Dockerfile>.dockerignore`, which takes the place of the
/// context's own ignore file, and for a file called `Dockerfile` also `dockerfile` will do.
pub fn load_dockerfile(options: &Options, known: &Known) -> Result<DockerfileLocation, LowerError> {
    let oracle = Oracle::new(known);
    let context = match remote(options, &oracle) {
        Ok(context) => context,
        Err(Stop::Open) => return Ok(DockerfileLocation::Needs(oracle.into_open())),
        Err(Stop::Error(error)) => return Err(error),
    };
    let own = options.context.dockerfile_key.is_some();
    let (state, filename) = match context {
        Some(context) if !own => (context.dockerfile, context.filename),
        _ => {
            let input = options.context.inputs.get(DOCKERFILE).filter(|_| !own);
            (
                dockerfile(options, input)?,
                options.context.filename.clone(),
            )
        }
    };
    let definition = state
        .marshal(&marshal_options(options))
        .map_err(LowerErrorKind::from)?;
    Ok(DockerfileLocation::At {
        definition,
        filename,
    })
}

/// The definition with which the context's ignore file is read.
pub fn load_dockerignore(options: &Options) -> Result<Definition, LowerError> {
    let state = State::local(
        CONTEXT,
        LocalOptions {
            session: Some(options.context.session_of(CONTEXT).into()),
            follow: vec![IGNORE_FILE.into()],
            shared_key_hint: format!("{CONTEXT}-{IGNORE_FILE}"),
            differ: Some(Differ::None),
            constraints: Constraints::named(internal(&format!("load {IGNORE_FILE}"))),
            ..Default::default()
        },
    );
    Ok(state
        .marshal(&marshal_options(options))
        .map_err(LowerErrorKind::from)?)
}

/// Marshalling of what the frontend reads for itself, on this machine.
pub(crate) fn marshal_options(options: &Options) -> MarshalOptions {
    MarshalOptions {
        caps: Some(options.caps.clone()),
        ..Default::default()
    }
}

/// Marshalling of the result.
pub(crate) fn target_marshal_options(options: &Options, target: &Platform) -> MarshalOptions {
    MarshalOptions {
        constraints: Constraints::new().platform(target.clone()),
        caps: Some(options.caps.clone()),
    }
}

/// The files with the Dockerfile: those given, else the client's.
fn dockerfile(options: &Options, input: Option<&Definition>) -> Result<State, LowerError> {
    match input {
        Some(input) => input_state(DOCKERFILE, input),
        None => Ok(local_dockerfile(options)),
    }
}

fn local_dockerfile(options: &Options) -> State {
    let directory = options
        .context
        .dockerfile_key
        .as_deref()
        .unwrap_or(DOCKERFILE);
    let filename = &options.context.filename;
    let mut follow = vec![filename.clone(), format!("{filename}{IGNORE_FILE}")];
    if path::base(filename) == crate::options::DEFAULT_FILENAME {
        let parent = filename.rsplit_once('/').map_or("", |(parent, _)| parent);
        follow.push(path::join([parent, "dockerfile"]));
    }
    State::local(
        directory,
        LocalOptions {
            session: Some(options.context.session_of(directory).into()),
            follow,
            shared_key_hint: directory.into(),
            differ: Some(Differ::None),
            constraints: Constraints::named(internal(&format!(
                "load build definition from {filename}"
            ))),
            ..Default::default()
        },
    )
}

/// The remote build context or the one given as input; none if it is a client directory.
pub(crate) fn remote(
    options: &Options,
    oracle: &Oracle<'_>,
) -> Result<Option<RemoteContext>, Stop> {
    let context = match options.context.remote.as_deref() {
        Some(address) => fetched(options, address, oracle)?,
        None => None,
    };
    let context = match context {
        Some(context) => Some(context),
        None => given(options)?,
    };
    let Some(mut context) = context else {
        return Ok(None);
    };
    if let Some(subdir) = &options.context.subdir {
        let mut copy = Copy::new(context.state, subdir.as_str(), "/");
        copy.contents_only = true;
        context.state = copied(copy);
    }
    Ok(Some(context))
}

fn copied(copy: Copy) -> State {
    let mut actions = FileActions::new();
    actions.copy(copy);
    State::scratch().file(actions, Constraints::new())
}

fn given(options: &Options) -> Result<Option<RemoteContext>, LowerError> {
    let Some(input) = options.context.inputs.get(CONTEXT) else {
        return Ok(None);
    };
    let state = input_state(CONTEXT, input)?;
    Ok(Some(RemoteContext {
        dockerfile: dockerfile(options, options.context.inputs.get(DOCKERFILE))?,
        filename: options.context.filename.clone(),
        source: state.clone(),
        state,
    }))
}

/// The state of a definition that was given as input.
pub(crate) fn input_state(name: &str, definition: &Definition) -> Result<State, LowerError> {
    State::from_definition(definition).map_err(|source| {
        let name = name.into();
        LowerErrorKind::InputDefinition { name, source }.into()
    })
}

fn fetched(
    options: &Options,
    address: &str,
    oracle: &Oracle<'_>,
) -> Result<Option<RemoteContext>, Stop> {
    let epoch = options
        .build_args
        .get("SOURCE_DATE_EPOCH")
        .is_some_and(|it| !it.is_empty());
    let preset = GitOptions {
        keep_git_dir: options.context.keep_git_dir,
        mtime: if epoch {
            "commit".into()
        } else {
            String::new()
        },
        ..Default::default()
    };
    if let Some(state) = git(address, preset)? {
        return Ok(Some(RemoteContext {
            dockerfile: state.clone(),
            filename: options.context.filename.clone(),
            source: state.clone(),
            state,
        }));
    }
    if !address.starts_with("http://") && !address.starts_with("https://") {
        return Ok(None);
    }
    let download = State::http(
        address,
        HttpOptions {
            filename: DOWNLOAD.into(),
            constraints: Constraints::named(internal("load remote build context")),
            ..Default::default()
        },
    );
    let (state, filename) = if is_archive(options, &download, oracle)? {
        let mut copy = Copy::new(download.clone(), path::join(["/", DOWNLOAD]), "/");
        copy.unpack = true;
        (copied(copy), options.context.filename.clone())
    } else {
        // The address is that of the Dockerfile itself.
        (download.clone(), DOWNLOAD.into())
    };
    Ok(Some(RemoteContext {
        dockerfile: state.clone(),
        filename,
        source: download,
        state,
    }))
}

fn is_archive(options: &Options, download: &State, oracle: &Oracle<'_>) -> Result<bool, Stop> {
    let definition = download
        .marshal(&marshal_options(options))
        .map_err(LowerErrorKind::from)?;
    let start = read_file(oracle, &definition, DOWNLOAD, Some(archive::HEADER_LEN))?;
    Ok(start.is_some_and(|start| archive::is_archive(&start)))
}

/// A file of the result of `definition`.
pub(crate) fn read_file(
    oracle: &Oracle<'_>,
    definition: &Definition,
    path: &str,
    limit: Option<usize>,
) -> Result<Option<Bytes>, Stop> {
    let question = Question::ReadFile {
        definition: definition.encode(),
        path: path.into(),
        limit,
    };
    match oracle.ask(question)? {
        Answer::File(content) => Ok(content.clone()),
        _ => Ok(None),
    }
}

/// A git repository as context; none if the address is none.
pub(crate) fn git(address: &str, preset: GitOptions) -> Result<Option<State>, LowerError> {
    let reference = match GitRef::parse(address) {
        Ok(reference) => reference,
        Err(error @ GitUrlError::Query(_)) => return Err(LowerErrorKind::from(error).into()),
        Err(_) => return Ok(None),
    };
    let options = GitOptions {
        reference: reference.reference,
        keep_git_dir: preset.keep_git_dir || reference.keep_git_dir == Some(true),
        subdir: reference.subdir,
        checksum: reference.checksum,
        skip_submodules: reference.submodules == Some(false),
        mtime: if reference.mtime.is_empty() {
            preset.mtime.clone()
        } else {
            reference.mtime
        },
        fetch_by_commit: reference.fetch_by_commit,
        constraints: Constraints::named(internal(&format!("load git source {address}"))),
        ..preset
    };
    Ok(Some(State::git(&reference.remote, options)))
}

/// The client directory with the build context, of which only `follow` is sent.
pub(crate) fn local_context(options: &Options, exclude: Vec<String>, follow: Vec<String>) -> State {
    State::local(
        CONTEXT,
        LocalOptions {
            session: Some(options.context.session_of(CONTEXT).into()),
            exclude,
            follow,
            shared_key_hint: CONTEXT.into(),
            constraints: Constraints::named(internal("load build context")),
            ..Default::default()
        },
    )
}
