//! `SourceOp`: images, OCI layouts, local directories, files of web servers and git repositories.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kiln_exporter::{PackageKind, package_url};
use kiln_llb::{digest_of, pb, redact};
use kiln_registry::Reference;
use kiln_session::transfer::TransferError;
use kiln_session::{LentDirectory, LentLayout, Session};
use kiln_solver::{CacheMap, OpContext};
use kiln_source::git::{GitError, GitModes};
use kiln_source::{
    BlobHome, BlobIdentifier, CacheKey, GitIdentifier, GitRevision, HttpFile, HttpIdentifier,
    Image, ImageIdentifier, LayoutIdentifier, LocalIdentifier, SourceError,
};
use oci_spec::image::{Descriptor, Digest, Platform};
use tokio::sync::OnceCell;

use super::Output;
use super::transfer;
use crate::error::{BuildError, Kind};
use crate::provenance::{ImageSource, Material, RepositorySource};
use crate::remote_sources::git_log;
use crate::surroundings::Compatibility;
use crate::worker::Worker;

pub(super) struct SourceOp {
    identifier: Identifier,
    opened: OpenedSource,
}

/// What a source turned out to stand for.
#[derive(Clone, Default)]
pub(super) struct OpenedSource {
    /// An image, once its manifests are here.
    image: Arc<OnceCell<Image>>,
    /// A file of a web server, once the server was asked.
    file: Arc<OnceCell<HttpFile>>,
    /// A revision of a repository, once its server was asked.
    revision: Arc<OnceCell<GitRevision>>,
}

/// Sources by the vertices that opened them, for as long as one of these lives: builds that share a vertex all know
/// what it stands for, whoever opened it.
#[derive(Default)]
pub(crate) struct OpenedSources {
    images: Opened<Image>,
    files: Opened<HttpFile>,
    revisions: Opened<GitRevision>,
}

impl OpenedSources {
    pub(super) fn of(&self, vertex: &Digest) -> OpenedSource {
        OpenedSource {
            image: self.images.cell(vertex),
            file: self.files.cell(vertex),
            revision: self.revisions.cell(vertex),
        }
    }
}

struct Opened<T>(Mutex<HashMap<Digest, Weak<OnceCell<T>>>>);

impl<T> Default for Opened<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Opened<T> {
    fn cell(&self, vertex: &Digest) -> Arc<OnceCell<T>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(vertex).and_then(Weak::upgrade) {
            return cell;
        }
        cells.retain(|_, cell| cell.strong_count() > 0);
        let cell = Arc::new(OnceCell::new());
        cells.insert(vertex.clone(), Arc::downgrade(&cell));
        cell
    }
}

enum Identifier {
    Image(ImageIdentifier),
    Layout(LayoutIdentifier),
    Local(LocalIdentifier),
    Http(HttpIdentifier),
    Git(Box<GitIdentifier>),
    Blob(BlobIdentifier),
}

impl SourceOp {
    pub(super) fn new(
        op: &pb::SourceOp,
        platform: Platform,
        opened: OpenedSource,
    ) -> Result<Self, BuildError> {
        let (scheme, rest) = op.identifier.split_once("://").ok_or_else(|| {
            BuildError::new(
                Kind::Input,
                format!("failed to parse source identifier {:?}", op.identifier),
            )
        })?;
        let identifier = match scheme {
            "docker-image" => {
                ImageIdentifier::parse(rest, &op.attrs, platform).map(Identifier::Image)
            }
            "oci-layout" => {
                LayoutIdentifier::parse(rest, &op.attrs, platform).map(Identifier::Layout)
            }
            "local" => LocalIdentifier::parse(rest, &op.attrs).map(Identifier::Local),
            "http" | "https" => {
                HttpIdentifier::parse(scheme, rest, &op.attrs).map(Identifier::Http)
            }
            "git" => {
                GitIdentifier::parse(rest, &op.attrs).map(|git| Identifier::Git(Box::new(git)))
            }
            "docker-image+blob" => {
                BlobIdentifier::in_registry(rest, &op.attrs).map(Identifier::Blob)
            }
            "oci-layout+blob" => BlobIdentifier::in_layout(rest, &op.attrs).map(Identifier::Blob),
            _ => {
                let message = format!("unknown source scheme {scheme:?} in {:?}", op.identifier);
                return Err(BuildError::new(Kind::Input, message));
            }
        };
        Ok(Self {
            identifier: identifier.map_err(source_error)?,
            opened,
        })
    }

    /// The same as an earlier version does it.
    pub(super) fn compatible_with(mut self, compatibility: Compatibility) -> Self {
        if let (Identifier::Git(git), Compatibility::V10) = (&mut self.identifier, compatibility) {
            git.modes = GitModes::Open;
        }
        self
    }

    /// What it took in: an image is known once it was opened.
    pub(super) fn material(&self) -> Option<Material> {
        let image = |reference: &Reference, platform: &Platform, kind| {
            Some(Material::Image(Box::new(ImageSource {
                reference: reference.clone(),
                platform: Some(platform.clone()),
                digest: self.opened.image.get()?.digest().clone(),
                kind,
            })))
        };
        match &self.identifier {
            Identifier::Image(it) => image(&it.reference, &it.platform, PackageKind::Docker),
            Identifier::Layout(it) => image(&it.reference, &it.platform, PackageKind::Oci),
            Identifier::Local(local) => Some(Material::Local(local.name.clone())),
            Identifier::Http(http) => Some(Material::File {
                url: http.url.clone(),
                digest: self.opened.file.get()?.digest.clone(),
            }),
            Identifier::Blob(blob) => Some(Material::Blob {
                url: blob_url(blob, &[("ref_type", "blob")]),
                digest: blob.digest.clone(),
            }),
            Identifier::Git(git) => Some(Material::Repository(Box::new(RepositorySource {
                url: git.url(),
                commit: self.opened.revision.get()?.checksum.clone(),
                bundle: git.bundle.as_ref().map(|bundle| {
                    let url = blob_url(bundle, &[("ref_type", "bundle"), ("vcs_url", &git.url())]);
                    (url, bundle.digest.clone())
                }),
                secrets: git.secrets().map(str::to_owned).collect(),
                ssh_agent: git.agent().map(str::to_owned),
            }))),
        }
    }

    /// Where its files are, and the blobs they are in: known once it was opened.
    pub(super) fn origin(&self) -> Option<(String, Vec<Descriptor>)> {
        let layers = || Some(self.opened.image.get()?.layers().cloned().collect());
        match &self.identifier {
            Identifier::Image(image) => Some((image.reference.to_string(), layers()?)),
            Identifier::Layout(layout) => Some((layout.reference.to_string(), layers()?)),
            Identifier::Http(http) => Some((redact::credentials(&http.url), Vec::new())),
            Identifier::Git(git) => Some((git.shown(), Vec::new())),
            Identifier::Blob(blob) => Some((blob.reference.to_string(), Vec::new())),
            Identifier::Local(_) => None,
        }
    }

    pub(super) async fn cache_map(
        &self,
        worker: &Arc<Worker>,
        cx: &OpContext,
        index: usize,
    ) -> Result<CacheMap, BuildError> {
        let key = match &self.identifier {
            Identifier::Local(local) => {
                let session = worker.jobs.session(cx).map_err(session_error)?;
                local.cache_key(session.id.as_str()).map_err(source_error)?
            }
            Identifier::Image(_) | Identifier::Layout(_) => {
                self.image(worker, cx).await?.cache_key(index)
            }
            Identifier::Http(http) => {
                let file = self.file(http, worker, cx).await?;
                file.cache_key(http).map_err(source_error)?
            }
            Identifier::Git(git) => self.revision(git, worker, cx).await?.cache_key(git),
            Identifier::Blob(blob) => blob.cache_key().map_err(source_error)?,
        };
        Ok(CacheMap {
            digest: digest_of_key(&key)?,
            deps: Vec::new(),
            more: key.more,
        })
    }

    pub(super) async fn execute(
        &self,
        worker: &Arc<Worker>,
        cx: &OpContext,
    ) -> Result<Output, BuildError> {
        match &self.identifier {
            Identifier::Local(local) => local_snapshot(local, worker, cx).await.map(Some),
            Identifier::Image(_) | Identifier::Layout(_) => self
                .image(worker, cx)
                .await?
                .snapshot()
                .map_err(source_error),
            Identifier::Http(http) => {
                let file = self.file(http, worker, cx).await?;
                let download = transfer::Download::start(worker.jobs.reporter(cx), &http.url);
                let sessions = worker.jobs.sessions(cx);
                let files = &worker.sources.files;
                let snapshot = files.snapshot(http, file, &sessions, download.progress());
                let snapshot = snapshot.await.map_err(source_error)?;
                download.done();
                Ok(Some(snapshot))
            }
            Identifier::Git(git) => {
                let revision = self.revision(git, worker, cx).await?;
                let (sessions, log) = (worker.jobs.sessions(cx), git_log(worker.jobs.reporter(cx)));
                let repositories = &worker.sources.repositories;
                let snapshot = repositories.snapshot(git, revision, &sessions, log).await;
                snapshot.map(Some).map_err(source_error)
            }
            Identifier::Blob(blob) => blob_snapshot(blob, worker, cx).await.map(Some),
        }
    }

    /// What the file is. A client whose build ends while it is asked for takes its secrets along: another goes on.
    async fn file(
        &self,
        http: &HttpIdentifier,
        worker: &Arc<Worker>,
        cx: &OpContext,
    ) -> Result<&HttpFile, BuildError> {
        let resolve = || async {
            let download = transfer::Download::start(worker.jobs.reporter(cx), &http.url);
            let sessions = worker.jobs.sessions(cx);
            let files = &worker.sources.files;
            let file = files.resolve(http, &sessions, download.progress()).await;
            let file = file.map_err(source_error)?;
            download.done();
            Ok(file)
        };
        self.opened.file.get_or_try_init(resolve).await
    }

    /// Which commit it is.
    async fn revision(
        &self,
        git: &GitIdentifier,
        worker: &Arc<Worker>,
        cx: &OpContext,
    ) -> Result<&GitRevision, BuildError> {
        let resolve = || async {
            let (sessions, log) = (worker.jobs.sessions(cx), git_log(worker.jobs.reporter(cx)));
            let repositories = &worker.sources.repositories;
            let revisions = worker.jobs.revisions(cx);
            let revision = revisions.resolve(repositories, git, &sessions, log).await;
            revision.map_err(source_error)
        };
        self.opened.revision.get_or_try_init(resolve).await
    }

    async fn image(&self, worker: &Arc<Worker>, cx: &OpContext) -> Result<&Image, BuildError> {
        self.opened
            .image
            .get_or_try_init(|| self.open_image(worker, cx))
            .await
    }

    async fn open_image(&self, worker: &Arc<Worker>, cx: &OpContext) -> Result<Image, BuildError> {
        let session = worker.jobs.session(cx).map_err(session_error)?;
        let reporter = worker.jobs.reporter(cx);
        let pull = transfer::pull_progress(reporter.clone());
        match &self.identifier {
            Identifier::Image(image) => {
                let activity = reporter.activity(format!("resolve {}", image.reference));
                let opened = worker.sources.images.open(image, &session, pull).await;
                let opened = opened.map_err(source_error)?;
                activity.done(0, 0);
                Ok(opened)
            }
            Identifier::Layout(layout) => {
                let lent = lent_layout(&session, &layout.store_id).await?;
                worker
                    .sources
                    .layouts
                    .open(layout, &lent, pull)
                    .await
                    .map_err(source_error)
            }
            Identifier::Local(_)
            | Identifier::Http(_)
            | Identifier::Git(_)
            | Identifier::Blob(_) => Err(BuildError::new(Kind::Internal, "files are no image")),
        }
    }
}

/// A blob as provenance names it.
fn blob_url(blob: &BlobIdentifier, qualifiers: &[(&str, &str)]) -> String {
    let kind = match blob.home {
        BlobHome::Registry => PackageKind::Docker,
        BlobHome::Layout { .. } => PackageKind::Oci,
    };
    package_url(kind, &blob.reference, None, qualifiers)
}

async fn blob_snapshot(
    blob: &BlobIdentifier,
    worker: &Arc<Worker>,
    cx: &OpContext,
) -> Result<kiln_store::Ref, BuildError> {
    let session = worker.jobs.session(cx).map_err(session_error)?;
    let pull = transfer::pull_progress(worker.jobs.reporter(cx));
    let sources = &worker.sources;
    let snapshot = match &blob.home {
        BlobHome::Registry => sources.images.blob(blob, &session, pull).await,
        BlobHome::Layout { store_id, .. } => {
            let layout = lent_layout(&session, store_id).await?;
            sources.layouts.blob(blob, &layout, pull).await
        }
    };
    snapshot.map_err(source_error)
}

/// Where a session keeps an OCI layout.
pub(crate) async fn lent_layout(session: &Session, store: &str) -> Result<LentLayout, BuildError> {
    session.files.oci_layout(store).await.map_err(session_error)
}

/// The files of a directory that any of the clients lends that want them now. The session that
/// the source names comes first; if one client does not lend the directory or leaves, another may.
async fn local_snapshot(
    local: &LocalIdentifier,
    worker: &Arc<Worker>,
    cx: &OpContext,
) -> Result<kiln_store::Ref, BuildError> {
    let mut sessions = worker.jobs.sessions(cx);
    sessions.sort_by_key(|session| session.id.as_str() != local.session_id);
    let mut failure = None;
    for session in &sessions {
        match snapshot_of(local, session, worker, cx).await {
            Err(error) if error.kind != Kind::Cancelled => {
                failure.get_or_insert(error);
            }
            outcome => return outcome,
        }
    }
    Err(match failure {
        Some(error) => error,
        None => session_error(worker.jobs.session(cx).err().unwrap_or_else(|| {
            kiln_session::SessionError::UnknownDirectory {
                name: local.name.clone(),
            }
        })),
    })
}

async fn snapshot_of(
    local: &LocalIdentifier,
    session: &Session,
    worker: &Arc<Worker>,
    cx: &OpContext,
) -> Result<kiln_store::Ref, BuildError> {
    let directory = session
        .files
        .directory(&local.name)
        .await
        .map_err(session_error)?;
    let reporter = worker.jobs.reporter(cx);
    let (progress, transfer) = transfer::local_progress(&reporter, &local.name);
    let locals = &worker.sources.locals;
    let snapshot = match directory {
        LentDirectory::Here(directory) => {
            let canonical = tokio::fs::canonicalize(&directory).await;
            let canonical = canonical.map_err(|error| {
                BuildError::wrap(Kind::Input, error).context(directory.display())
            })?;
            // Another directory, or another use of the same one, is another transfer.
            let shared_key = format!(
                "{}:{}:{}",
                local.name,
                local.shared_key_hint,
                canonical.display()
            );
            worker.jobs.note(cx, |book| book.place(&shared_key));
            locals
                .snapshot(local, &canonical, &shared_key, progress)
                .await
        }
        LentDirectory::Remote(directory) => {
            let place = format!("{}:{}", local.name, directory.shared_key());
            worker.jobs.note(cx, |book| book.place(&place));
            locals.snapshot_remote(local, &*directory, progress).await
        }
    };
    let snapshot = snapshot.map_err(source_error)?;
    transfer.done();
    Ok(snapshot)
}

/// The digest that stands for a source's key. Keys that only name a place in
/// a session get a digest of a kind that is never looked up later.
fn digest_of_key(key: &CacheKey) -> Result<Digest, BuildError> {
    let digest = digest_of(format!("buildkit.source.v0:{}", key.key));
    if !key.key.starts_with("session:") {
        return Ok(digest);
    }
    let text = format!("random:{}", digest.digest());
    text.parse()
        .map_err(|error| BuildError::wrap(Kind::Internal, error))
}

pub(crate) fn session_error(error: kiln_session::SessionError) -> BuildError {
    BuildError::wrap(Kind::Input, error)
}

/// Registries and disks are the machine's surroundings; all else is asked
/// wrongly.
pub(crate) fn source_error(error: SourceError) -> BuildError {
    let kind = match &error {
        SourceError::Git(GitError::Stopped) => Kind::Cancelled,
        SourceError::Git(error) if error.is_of_environment() => Kind::Environment,
        SourceError::Registry(_)
        | SourceError::Containerd(_)
        | SourceError::Store(_)
        | SourceError::Download { .. }
        | SourceError::DownloadWrite { .. }
        | SourceError::Write { .. } => Kind::Environment,
        SourceError::Internal(_) => Kind::Internal,
        SourceError::Stopped { .. }
        | SourceError::DownloadStopped { .. }
        | SourceError::Transfer(TransferError::Stopped) => Kind::Cancelled,
        _ => Kind::Input,
    };
    let hint = match &error {
        SourceError::Git(error) => error.hint(),
        _ => None,
    };
    let error = BuildError::wrap(kind, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
