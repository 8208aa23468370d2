//! Exports the cache of a build.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_exporter::Compression;
use kiln_remote_cache::mounts::{MountKeys, MountsWanted};
use kiln_remote_cache::{
    Destination, ExportOptions, Exported, Place, StoreEnvironment, StoreOptions,
};
use kiln_session::Session;
use kiln_session::progress::ProgressSink;
use kiln_solver::{ExportMode, Solved};

use super::mount_exports::{MountExport, MountExports};
use super::remotes::LayerBlobs;
use super::{client_cache, store};
use crate::engine::Engine;
use crate::error::{BuildError, Kind};
use crate::ops::Output;
use crate::registries::Access;
use crate::request::{Attributes, CacheEntry};
use crate::step::Step;

/// A cache export whose keys have been checked.
pub(crate) struct CacheExport {
    options: ExportOptions,
    compression: Compression,
    mounts: MountKeys,
}

impl CacheExport {
    /// Whether it goes into the image's config.
    pub(crate) fn is_inline(&self) -> bool {
        self.options.destination == Destination::Inline
    }

    fn is_directory(&self) -> bool {
        matches!(self.options.destination, Destination::Directory { .. })
    }

    /// Where it is written.
    pub(crate) fn destination(&self) -> &Destination {
        &self.options.destination
    }

    fn title(&self) -> String {
        match &self.options.destination {
            Destination::Directory { .. } => "exporting cache to client directory".into(),
            Destination::Registry { .. } => "exporting cache to registry".into(),
            Destination::Inline => "preparing layers for inline cache".into(),
            Destination::Store(options) => match &**options {
                StoreOptions::S3(_) => "exporting cache to Amazon S3",
                StoreOptions::Azblob(_) => "exporting cache to Azure Blob Storage",
                StoreOptions::Gcs(_) => "exporting cache to Google Cloud Storage",
                StoreOptions::Gha(_) => "exporting to GitHub Actions Cache",
                StoreOptions::Http(_) => "exporting cache to web server",
            }
            .into(),
        }
    }
}

/// Checks the keys of all exports, before anything is built.
pub(crate) fn parse_exports(
    entries: &[CacheEntry],
    environment: &StoreEnvironment,
) -> Result<Vec<CacheExport>, BuildError> {
    let parsed = entries.iter().map(|entry| {
        let mut attributes = environment.complete(&entry.kind, &entry.attributes);
        let mounts = MountKeys::take(&entry.kind, &mut attributes);
        let mounts = mounts.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let options = ExportOptions::parse(&entry.kind, &attributes);
        let options = options.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let compression = Compression::from_attrs(&options.compression);
        let compression = compression.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        Ok(CacheExport {
            options,
            compression,
            mounts,
        })
    });
    parsed.collect()
}

impl MountExports {
    /// Those of caches with `mounts=true`.
    pub(crate) fn of(exports: &[CacheExport]) -> Self {
        let wanted = exports.iter();
        let wanted = wanted.filter(|export| export.mounts.wanted == MountsWanted::Yes);
        let wanted = wanted.map(|export| MountExport {
            destination: export.options.destination.clone(),
            keys: export.mounts.clone(),
            ignore_error: export.options.ignore_error,
        });
        Self(wanted.collect())
    }
}

/// Writes all caches, side by side.
pub(crate) async fn export_all(
    engine: &Engine,
    session: &Session,
    progress: &ProgressSink,
    solved: &[Solved<Output>],
    exports: &[CacheExport],
) -> Result<Attributes, BuildError> {
    let (directories, others): (Vec<_>, Vec<_>) = exports
        .iter()
        .filter(|export| !export.is_inline())
        .partition(|export| export.is_directory());
    // A client writes the one manifest that the response can name into the index of its directory: a directory's
    // comes last, and takes the place of others.
    let exports = others
        .into_iter()
        .chain(directories)
        .map(|export| async move {
            let step = Step::start(progress, export.title());
            let exported = export_one(engine, session, &step, solved, export).await;
            match (step.finish(exported), export.options.ignore_error) {
                (Err(_), true) => Ok(Attributes::new()),
                (exported, _) => exported,
            }
        });
    Ok(try_join_all(exports)
        .await?
        .into_iter()
        .flatten()
        .collect::<BTreeMap<_, _>>())
}

async fn export_one(
    engine: &Engine,
    session: &Session,
    step: &Step,
    solved: &[Solved<Output>],
    export: &CacheExport,
) -> Result<Attributes, BuildError> {
    let way = way(engine, session, &export.options.destination).await?;
    let preparing = step.reporter.activity("preparing build cache for export");
    let records = records(engine, solved, export.options.mode, export.compression).await?;
    preparing.done(0, 0);
    let sending = step.reporter.activity("sending cache export");
    let content = engine.worker.store.content();
    let exported = kiln_remote_cache::export(&records, &export.options, content, way.as_ref());
    let Exported { response, warnings } = exported
        .await
        .map_err(|error| BuildError::wrap(Kind::Environment, error))?;
    sending.done(0, 0);
    for warning in warnings {
        step.reporter.warn(&warning);
    }
    Ok(response)
}

/// The way to where a cache goes, if that is not a directory on this machine.
pub(super) async fn way(
    engine: &Engine,
    session: &Session,
    destination: &Destination,
) -> Result<Option<Place>, BuildError> {
    match destination {
        Destination::Registry {
            reference,
            insecure,
        } => {
            let repository = engine.repository(reference, Access::of(*insecure), session)?;
            Ok(Some(Place::Repository(repository)))
        }
        Destination::Directory { path, .. } => client_cache(session, path).await,
        Destination::Store(options) => store(engine, options).await.map(Some),
        Destination::Inline => Ok(None),
    }
}

type Records = Vec<kiln_solver::ExportRecord<Vec<kiln_remote_cache::CacheLayer>>>;

async fn records(
    engine: &Engine,
    solved: &[Solved<Output>],
    mode: ExportMode,
    compression: Compression,
) -> Result<Records, BuildError> {
    let options = kiln_solver::ExportOptions {
        mode,
        ..kiln_solver::ExportOptions::default()
    };
    let remotes = LayerBlobs::new(engine, compression);
    let records = kiln_solver::export(solved, &options, &remotes).await;
    records.map_err(|error| BuildError::wrap(Kind::Environment, error))
}

/// The records of one result for its image's config; `None` if they say
/// nothing.
pub(crate) async fn inline_records(
    engine: &Engine,
    progress: &ProgressSink,
    solved: &Solved<Output>,
    compression: Compression,
) -> Result<Option<Bytes>, BuildError> {
    let Some(reference) = &solved.output else {
        return Ok(None);
    };
    let step = Step::start(progress, "preparing layers for inline cache");
    let inline = async {
        let failed = |error| BuildError::wrap(Kind::Environment, error);
        let layers = engine
            .exporter
            .layers(reference, &compression)
            .await
            .map_err(failed)?;
        let digests = layers
            .iter()
            .map(|layer| layer.descriptor.digest().clone())
            .collect::<Vec<_>>();
        let solved = std::slice::from_ref(solved);
        let records = records(engine, solved, ExportMode::Min, compression).await?;
        let records = kiln_remote_cache::inline_records(&records, &digests);
        let records = records.map_err(|error| BuildError::wrap(Kind::Internal, error))?;
        Ok(records.map(Bytes::from))
    };
    let inline = inline.await;
    step.finish(inline)
}
