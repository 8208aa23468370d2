//! From a request to lowered Dockerfiles.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_dockerfile::options::CacheImport;
use kiln_dockerfile::{
    DockerfileLocation, Known, Lowered, Lowering, Options, Source, load_dockerfile, lower,
};
use kiln_llb::caps::Caps;
use kiln_llb::{Definition, pb};
use oci_spec::image::Platform;

use crate::door::Door;
use crate::failure::{Failure, file};
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
        Err(error) if answers::is_lint(&options) => {
            let answer = answers::lint_syntax_error(file, definition, &error);
            return Ok(Outcome::Answer(answer));
        }
        Err(error) => return Err(Failure::syntax(&error, file).into()),
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
            let lowered = lower_fully(door, source, options, known).await?;
            // Warnings are the same for all platforms.
            if index == 0 {
                warnings::report(door, source, &lowered.warnings).await;
            }
            Ok::<_, D::Error>(lowered)
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
    let result = door.solve(definition).await?;
    let mut text = door.read_file(&result, filename, None).await?;
    if text.is_none() && filename.rsplit('/').next() == Some("Dockerfile") {
        let lower_case = format!("{}dockerfile", filename.trim_end_matches("Dockerfile"));
        text = door.read_file(&result, &lower_case, None).await?;
    }
    let text = text.ok_or_else(|| {
        let message = format!("failed to read dockerfile: open {filename}: no such file or directory");
        Failure::new(message).hint(
            "name the directory with --local dockerfile=DIR, and another file name with --opt filename=NAME",
        )
    })?;
    let ignore = format!("{filename}.dockerignore");
    let ignore = door.read_file(&result, &ignore, None).await?;
    Ok(Found {
        name: filename.to_owned(),
        text,
        ignore,
    })
}

/// Lowers, answering questions until there are none.
async fn lower_fully<D: Door>(
    door: &D,
    source: &Source,
    options: &Options,
    known: Known,
) -> Result<Lowered, D::Error> {
    let mut told = Told::new(door, known);
    for _ in 0..MAX_ROUNDS {
        match lower(source, options, &told.known) {
            Ok(Lowering::Done(lowered)) => return Ok(*lowered),
            Ok(Lowering::Needs(questions)) => told.ask(questions).await?,
            Err(error) => return Err(told.error(Failure::lower(&error, source))),
        }
    }
    Err(too_many_rounds().into())
}
