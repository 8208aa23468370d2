//! Imports caches before a build.

use futures::future::join_all;
use kiln_remote_cache::{ImportOptions, Imported};
use kiln_session::Session;
use kiln_session::progress::ProgressSink;
use kiln_solver::Cache;

use crate::engine::Engine;
use crate::error::{BuildError, Kind};
use crate::ops::Output;
use crate::registries::Access;
use crate::request::CacheEntry;
use crate::step::Step;

/// Checks the keys of all imports.
pub(crate) fn parse_imports(entries: &[CacheEntry]) -> Result<Vec<ImportOptions>, BuildError> {
    let parsed = entries.iter().map(|entry| {
        let options = ImportOptions::parse(&entry.kind, &entry.attributes);
        options.map_err(|error| BuildError::wrap(Kind::Input, error))
    });
    parsed.collect()
}

/// Reads all caches, side by side. Those that cannot be used are left out,
/// with a warning.
pub(crate) async fn import_all(
    engine: &Engine,
    session: &Session,
    progress: &ProgressSink,
    imports: Vec<ImportOptions>,
) -> Vec<Cache<Output>> {
    let imports = imports
        .into_iter()
        .map(|options| import(engine, session, progress, options));
    join_all(imports).await.into_iter().flatten().collect()
}

async fn import(
    engine: &Engine,
    session: &Session,
    progress: &ProgressSink,
    options: ImportOptions,
) -> Option<Cache<Output>> {
    let (name, access) = match &options {
        ImportOptions::Directory { path, .. } => (path.display().to_string(), None),
        ImportOptions::Registry {
            reference,
            insecure,
        } => (
            reference.to_string(),
            Some((reference.clone(), Access::of(*insecure))),
        ),
    };
    let step = Step::start(progress, format!("importing cache manifest from {name}"));
    let repository =
        match access.map(|(reference, access)| engine.repository(&reference, access, session)) {
            None => None,
            Some(Ok(repository)) => Some(repository),
            Some(Err(error)) => {
                step.reporter.warn(&error.message);
                step.end(String::new());
                return None;
            }
        };
    let store = &engine.worker.store;
    let Imported { cache, warnings } =
        kiln_remote_cache::import(&options, store, repository, Some).await;
    for warning in warnings {
        step.reporter.warn(&warning);
    }
    step.end(String::new());
    cache
}
