//! From a request to lowered Dockerfiles.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_dockerfile::options::CacheImport;
use kiln_dockerfile::{
    DockerfileLocation, Known, LowerError, Lowered, Lowering, Options, Source, SyntaxError,
    lint_part, load_dockerfile, lower,
};
use kiln_llb::build::SourceMap;
use kiln_llb::caps::Caps;
use kiln_llb::{Definition, pb};
use oci_spec::image::Platform;

use crate::door::Door;
use crate::failure::{Failure, file, within};
use crate::questions::{MAX_ROUNDS, Told, too_many_rounds};
use crate::syntax::{self, Wanted};
use crate::{answers, caps, sbom, warnings};

/// What the frontend is asked for.
#[derive(Debug, Default)]
pub struct Request {
    /// Options by name.
    pub attributes: BTreeMap<String, String>,
    /// Definitions to build on, by name.
    pub inputs: BTreeMap<String, Definition>,
    /// The session which has the client's directories.
    pub session: String,
    /// Platforms that steps can run on, if this machine does not tell.
    pub workers: Vec<Platform>,
    /// What the engine can do, if it is another one than ours.
    pub caps: Option<Caps>,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Outcome {
    /// The Dockerfile or the request wants another frontend.
    Forward {
        /// Which one.
        wanted: Wanted,
        /// The Dockerfile.
        file: pb::SourceInfo,
    },
    /// The answer to a request that is no build: metadata.
    Answer(BTreeMap<String, Bytes>),
    /// A build.
    Build(Build),
}

/// What is to be built.
#[derive(Debug)]
pub struct Build {
    /// One for each platform.
    pub targets: Vec<Target>,
    /// Whether the result is several even if there is but one.
    pub multi_platform: bool,
    /// Caches to look into.
    pub cache_imports: Vec<CacheImport>,
}

/// What is to be built for one platform.
#[derive(Debug)]
pub struct Target {
    /// The build.
    pub lowered: Lowered,
    /// What scans the result, if that is asked for: its result is a bundle of statements.
    pub sbom: Option<Definition>,
}

impl Request {
    fn options(&self) -> Result<Options, Failure> {
        let options = Options::from_attrs(&self.attributes);
        let options = options.map_err(|error| Failure::wrap(&error))?;
        let mut options = options.with_session(&self.session);
        options.context.inputs = self.inputs.clone();
        if !self.workers.is_empty() {
            options.build_platforms = self.workers.clone();
        }
        if let Some(caps) = &self.caps {
            options.caps = caps.clone();
        }
        Ok(options)
    }
}

/// Answers a request.
pub async fn run<D: Door>(door: &D, request: &Request) -> Result<Outcome, D::Error> {
    let attributes = &request.attributes;
    let wanted_caps = attributes.get("frontend.caps").map_or("", String::as_str);
    let missing_cap = caps::check(wanted_caps)?;
    let options = request.options()?;
    let mut told = Told::new(door, Known::new());
    let (definition, found) = find_dockerfile(door, &options, &mut told).await?;
    let known = told.known;
    let file = file(&found.name, found.text.clone());
    if let Some(wanted) = syntax::wanted(&found.text, attributes) {
        return Ok(Outcome::Forward { wanted, file });
    }
    if let Some(failure) = missing_cap {
        return Err(failure.into());
    }
    let source = match Source::parse(&found.name, found.text, Some(definition.clone())) {
        Ok(source) => source.with_ignore(found.ignore),
        Err(error) => return unreadable(door, &options, file, definition, &error).await,
    };
    if !options.request.is_empty() {
        let answer = answers::answer(door, &source, &options, known).await?;
        return Ok(Outcome::Answer(answer));
    }
    let lowered = lower_all(door, &source, &options, &known).await?;
    Ok(Outcome::Build(Build {
        targets: sbom::with_scans(door, &options, lowered).await?,
        multi_platform: options.multi_platform,
        cache_imports: options.cache_imports,
    }))
}

/// What a request for a Dockerfile that does not parse comes to: judgement or an error.
async fn unreadable<D: Door>(
    door: &D,
    options: &Options,
    file: pb::SourceInfo,
    definition: Definition,
    error: &SyntaxError,
) -> Result<Outcome, D::Error> {
    let map = SourceMap {
        definition: Some(definition),
        filename: file.filename.clone(),
        language: file.language.clone(),
        data: file.data.clone(),
    };
    let warnings = lint_part(&map.data, options);
    if answers::is_lint(options) {
        let answer = answers::lint_syntax_error(&map, &warnings, error);
        return Ok(Outcome::Answer(answer));
    }
    warnings::report(door, &map, &warnings).await;
    Err(Failure::syntax(error, file).into())
}

/// Lowers for all platforms.
async fn lower_all<D: Door>(
    door: &D,
    source: &Source,
    options: &Options,
    known: &Known,
) -> Result<Vec<Lowered>, D::Error> {
    let platforms = options.per_platform();
    let lowered = platforms.iter().enumerate().map(|(index, options)| {
        let known = known.clone();
        async move {
            let mut told = Told::new(door, known);
            let lowered = lower_fully(&mut told, source, options).await?;
            let warnings = match &lowered {
                Ok(lowered) => &lowered.warnings,
                Err(error) => &error.warnings,
            };
            // Warnings are the same for all platforms.
            if index == 0 {
                warnings::report(door, &source.map, warnings).await;
            }
            lowered.map_err(|error| told.error(Failure::lower(&error, source)))
        }
    });
    try_join_all(lowered).await
}

/// A Dockerfile as it was read.
struct Found {
    name: String,
    text: Bytes,
    /// The ignore file that belongs to it alone.
    ignore: Option<Bytes>,
}

async fn find_dockerfile<D: Door>(
    door: &D,
    options: &Options,
    told: &mut Told<'_, D>,
) -> Result<(Definition, Found), D::Error> {
    for _ in 0..MAX_ROUNDS {
        match load_dockerfile(options, &told.known).map_err(|error| Failure::wrap(&error))? {
            DockerfileLocation::Needs(questions) => told.ask(questions).await?,
            DockerfileLocation::At {
                definition,
                filename,
            } => {
                let found = read_dockerfile(door, &definition, &filename).await?;
                return Ok((definition, found));
            }
        }
    }
    Err(too_many_rounds().into())
}

async fn read_dockerfile<D: Door>(
    door: &D,
    definition: &Definition,
    filename: &str,
) -> Result<Found, D::Error> {
    let failed = |error| within("failed to read dockerfile", error);
    let result = door.solve(definition).await.map_err(failed)?;
    let read = async |name: &str| door.read_file(&result, name, None).await.map_err(failed);
    let mut text = read(filename).await?;
    if text.is_none() && filename.rsplit('/').next() == Some("Dockerfile") {
        let lower_case = format!("{}dockerfile", filename.trim_end_matches("Dockerfile"));
        text = read(&lower_case).await?;
    }
    let text = text.ok_or_else(|| {
        let message = format!("failed to read dockerfile: open {filename}: no such file or directory");
        Failure::new(message).hint(
            "name the directory with --local dockerfile=DIR, and another file name with --opt filename=NAME",
        )
    })?;
    let ignore = format!("{filename}.dockerignore");
    let ignore = read(&ignore).await?;
    Ok(Found {
        name: filename.to_owned(),
        text,
        ignore,
    })
}

/// Lowers, answering questions until there are none.
async fn lower_fully<D: Door>(
    told: &mut Told<'_, D>,
    source: &Source,
    options: &Options,
) -> Result<Result<Lowered, LowerError>, D::Error> {
    for _ in 0..MAX_ROUNDS {
        match lower(source, options, &told.known) {
            Ok(Lowering::Done(lowered)) => return Ok(Ok(*lowered)),
            Ok(Lowering::Needs(questions)) => told.ask(questions).await?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Err(too_many_rounds().into())
}
