//! `buildctl build`.

mod cache;
mod credentials;
mod interrupt;
mod metadata;
mod options;
mod output;
mod secret;
mod ssh;

use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_engine::{BuildOutcome, BuildRequest, Definition, Entitlement, Frontend};
use kiln_session::{Directories, Session, SessionId};

use crate::arguments::{Arguments, BuildArguments};
use crate::failure::Failure;
use crate::progress::Display;
use crate::{fields, root};

pub(crate) fn run(arguments: &Arguments, build: &BuildArguments) -> Result<(), Failure> {
    let id = SessionId::random();
    let request = Request::parse(build)?;
    let outcome = root::block_on(run_build(arguments, build, request, &id));
    if let Some(file) = &build.ref_file {
        metadata::write_atomically(file, id.as_str().as_bytes())?;
    }
    let outcome = outcome?;
    if let Some(file) = &build.metadata_file {
        metadata::write(file, &outcome.response)?;
    }
    print_answer(&outcome);
    Ok(())
}

async fn run_build(
    arguments: &Arguments,
    build: &BuildArguments,
    request: Request,
    id: &SessionId,
) -> Result<BuildOutcome, Failure> {
    let engine = root::open_engine(arguments)?;
    let display = Display::start(build.progress, build.trace.as_deref())?;
    let request = request.with(id, &display);
    let outcome = interrupt::until_interrupted(engine.build(request)).await;
    display.finish();
    outcome
}

/// The command line, read and checked.
struct Request {
    frontend: Frontend,
    options: std::collections::BTreeMap<String, String>,
    exports: Vec<kiln_engine::ExportRequest>,
    cache_imports: Vec<kiln_engine::CacheEntry>,
    cache_exports: Vec<kiln_engine::CacheEntry>,
    entitlements: BTreeSet<Entitlement>,
    session: Session,
}

impl Request {
    fn parse(build: &BuildArguments) -> Result<Self, Failure> {
        let mut options = options::parse(&build.opt)?;
        let entitlements = build.allow.iter().map(|name| name.parse::<Entitlement>());
        let entitlements = entitlements
            .collect::<Result<_, _>>()
            .map_err(Failure::usage)?;
        let frontend = frontend(build)?;
        if build.no_cache && matches!(frontend, Frontend::Dockerfile) {
            options.insert("no-cache".into(), String::new());
        }
        Ok(Self {
            frontend,
            options,
            cache_imports: cache::imports(&build.import_cache)?,
            cache_exports: cache::exports(&build.export_cache)?,
            entitlements,
            session: session(build)?,
            // Last, because it opens files that a bad command line must not touch.
            exports: output::parse(&build.output)?,
        })
    }

    fn with(self, id: &SessionId, display: &Display) -> BuildRequest {
        BuildRequest {
            id: id.as_str().to_owned(),
            options: self.options,
            exports: self.exports,
            cache_imports: self.cache_imports,
            cache_exports: self.cache_exports,
            entitlements: self.entitlements,
            progress: display.sink(),
            ..BuildRequest::new(self.frontend, self.session)
        }
    }
}

fn frontend(build: &BuildArguments) -> Result<Frontend, Failure> {
    match build.frontend.as_str() {
        "dockerfile.v0" => Ok(Frontend::Dockerfile),
        "" => read_definition(build.no_cache).map(Frontend::Definition),
        "gateway.v0" => Err(Failure::usage(
            "frontend gateway.v0 is not supported yet; use dockerfile.v0",
        )),
        other => Err(Failure::usage(format!(
            "unknown frontend {other:?}; use dockerfile.v0"
        ))),
    }
}

/// LLB from standard input.
fn read_definition(no_cache: bool) -> Result<Definition, Failure> {
    use std::io::{IsTerminal as _, Read as _};
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage(
            "please specify --frontend or pipe LLB definition to stdin",
        ));
    }
    let mut bytes = Vec::new();
    let read = stdin.read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    let mut definition = Definition::decode(bytes.into())
        .map_err(|error| Failure::usage(format!("failed to parse input: {error}")))?;
    if definition.ops.is_empty() {
        return Err(Failure::usage(
            "empty definition sent to build. Specify --frontend instead?",
        ));
    }
    if no_cache {
        let digests = definition
            .digests()
            .map(|(digest, _)| digest.to_string())
            .collect::<Vec<_>>();
        for digest in digests {
            definition.metadata.entry(digest).or_default().ignore_cache = true;
        }
    }
    Ok(definition)
}

fn session(build: &BuildArguments) -> Result<Session, Failure> {
    let directories = Directories {
        directories: directories(&build.local, "--local")?,
        oci_layouts: directories(&build.oci_layout, "--oci-layout")?,
    };
    Ok(Session {
        files: Arc::new(directories),
        credentials: Arc::new(credentials::DockerConfig::load()),
        secrets: Arc::new(secret::Sources::parse(&build.secret)?),
        ssh: Arc::new(ssh::Agents::parse(&build.ssh)?),
        ..Session::empty()
    })
}

fn directories(
    values: &[String],
    flag: &str,
) -> Result<std::collections::BTreeMap<String, std::path::PathBuf>, Failure> {
    let map = fields::map(values).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    let checked = map.into_iter().map(|(name, path)| {
        let path = std::path::PathBuf::from(path);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok((name, path)),
            Ok(_) => Err(Failure::usage(format!(
                "{flag} {name}: {} is not a directory",
                path.display()
            ))),
            Err(error) => Err(Failure::usage(format!(
                "{flag} {name}: {}: {error}",
                path.display()
            ))),
        }
    });
    checked.collect()
}

/// Prints what a frontend answered to `--opt requestid=…`.
fn print_answer(outcome: &BuildOutcome) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    let answer = &outcome.subrequest;
    // A reader that left is not this command's failure.
    if let Some(text) = answer.get("result.txt") {
        let _ = stdout.write_all(text);
        return;
    }
    for (key, value) in answer.iter().filter(|(key, _)| key.starts_with("result.")) {
        let _ = writeln!(stdout, "{key}\n{}", String::from_utf8_lossy(value));
    }
}
