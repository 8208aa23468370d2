//! Bundles: repositories that are one file (git's `gitformat-bundle`), as where commits come from and as what a source
//! gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use kiln_session::Session;
use kiln_store::MutableRef;
use tokio::task::spawn_blocking;

use super::command::Reach;
use super::error::GitError;
use super::identifier::{GitDirectory, is_commit};
use super::repository::{Repository, object_format, on_thread};
use super::resolve::GitRevision;
use super::task::Task;
use crate::error::SourceError;
use crate::image::{BlobHome, BlobIdentifier, ImageSource, LayoutSource};

/// What a source that gives a bundle calls it.
const FILE: &str = "bundle";

/// What the commit in a bundle is called if the build has no name for it: a bundle has to have one.
const FALLBACK: &str = "refs/heads/main";

/// Where everything that bundles have is kept.
const EVERYTHING: &str = "+refs/*:refs/bundled/*";

/// Reads `git.bundle`: the URL of a single blob. `attributes` may say who lends its layout.
pub(super) fn locator(
    text: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<BlobIdentifier, SourceError> {
    let invalid = |reason: String| GitError::Bundle {
        locator: text.to_owned(),
        reason,
    };
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| invalid("it has no scheme".into()))?;
    let attribute = |name: &str| attributes.get(name).filter(|value| !value.is_empty());
    let blob = match scheme {
        "docker-image+blob" => BlobIdentifier::in_registry(rest, &BTreeMap::new()),
        "oci-layout+blob" => {
            let named = rest.split('@').next().unwrap_or_default().to_owned();
            let store = attribute("oci.store").cloned().unwrap_or(named);
            let session = attribute("oci.session").cloned().unwrap_or_default();
            let home = [
                ("oci.store".to_owned(), store),
                ("oci.session".to_owned(), session),
            ];
            BlobIdentifier::in_layout(rest, &home.into())
        }
        _ => {
            let known = "use docker-image+blob:// or oci-layout+blob://";
            return Err(invalid(format!("scheme {scheme:?} is not supported; {known}")).into());
        }
    };
    let blob = blob.map_err(|error| invalid(error.to_string()))?;
    match blob.digest.algorithm().as_ref() {
        "sha256" => Ok(blob),
        other => Err(invalid(format!("digests by {other} are not supported; use sha256")).into()),
    }
}

/// The full name that a commit has in a bundle, found by this reference: branches and tags keep theirs.
fn name_in_bundle(reference: &str) -> String {
    match reference {
        commit if commit.is_empty() || is_commit(commit) => FALLBACK.to_owned(),
        name if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") => {
            name.to_owned()
        }
        name => format!("refs/heads/{}", name.strip_prefix("refs/").unwrap_or(name)),
    }
}

/// What tells bundles with a commit apart from other forms of it, and from each other, in cache keys.
pub(super) fn key(reference: &str) -> String {
    match name_in_bundle(reference) {
        usual if usual == FALLBACK => "(bundle)".to_owned(),
        name => format!("(bundle)#{name}"),
    }
}

impl Repository<'_> {
    /// Takes all that a bundle has, if an object is not here yet but there.
    pub(super) async fn unbundle(&self, bundle: &Path, object: &str) -> Result<(), GitError> {
        if self.has(object).await? {
            return Ok(());
        }
        self.take_bundle(bundle).await?;
        match self.has(object).await? {
            true => Ok(()),
            false => Err(GitError::NotInBundle {
                remote: self.git.remote.clone(),
                commit: object.to_owned(),
            }),
        }
    }

    async fn take_bundle(&self, bundle: &Path) -> Result<(), GitError> {
        let run = self.run("fetch").reaching(Reach::Local);
        let run = run.args(["--no-tags", "--no-write-fetch-head", "--"]);
        let run = run.args([bundle.as_os_str(), EVERYTHING.as_ref()]);
        run.must("import git bundle into").await.map(drop)
    }

    /// Sees to it that all that led to an object is here, too.
    async fn complete(&self, url: &str, object: &str) -> Result<(), GitError> {
        if !self.is_shallow().await? {
            return Ok(());
        }
        let spec = format!("+{object}:refs/kept/{object}");
        let run = self.run("fetch").reaching(Reach::Network);
        let run = run.args(["--no-tags", "--no-write-fetch-head", "--unshallow"]);
        match run.args(["--", url, &spec]).outcome().await? {
            Ok(_) => Ok(()),
            Err(_) => self.fetch_all(url).await,
        }
    }

    /// Writes a bundle with a commit under a name.
    async fn write_bundle(&self, file: &Path, name: &str, commit: &str) -> Result<(), GitError> {
        // A repository of its own for the name, which may be taken in ours. It has all our objects.
        let objects = self.path().join("objects");
        let beside = spawn_blocking(move || {
            let beside = tempfile::tempdir()?;
            std::fs::create_dir_all(beside.path().join("objects/info"))?;
            let line = format!("{}\n", objects.display());
            std::fs::write(beside.path().join("objects/info/alternates"), line)?;
            Ok(beside)
        });
        let beside = on_thread(
            beside.await,
            self.git,
            "make a repository for the bundle of",
        )?;
        let run = |subcommand| self.git.run(subcommand).git_dir(beside.path());
        let format = format!("--object-format={}", object_format(commit));
        let init = run("init").args(["--quiet", "--bare", &format]);
        init.must("make a repository for the bundle of").await?;
        let update = run("update-ref").args([name, commit]);
        update.must("name the commit in the bundle of").await?;
        let create = run("bundle").args(["create", "--quiet"]);
        let create = create.args([file.as_os_str(), name.as_ref()]);
        create.must("create git bundle for").await.map(drop)
    }
}

impl Task<'_> {
    /// The bundle that commits come from, as a file.
    pub(super) async fn bundle_file(&self) -> Result<Option<PathBuf>, SourceError> {
        let Some(bundle) = &self.identifier.bundle else {
            return Ok(None);
        };
        self.bundles.bring(bundle, self.sessions).await?;
        Ok(Some(self.store.content().path(&bundle.digest)))
    }

    /// The commit with all its history in a tree that is one file.
    pub(super) async fn bundle(&self, revision: &GitRevision) -> Result<MutableRef, SourceError> {
        let tree = self.new_tree().await?;
        let git = self.git(&self.main, self.identifier.shown()).await?;
        let part = self.main_part(revision);
        let repository = self.fetched(&git, &self.main, &part).await?;
        match self.bundle_file().await? {
            // What was here of the commit may be less than the bundle has.
            Some(bundle) if repository.is_shallow().await? => {
                repository.take_bundle(&bundle).await?;
            }
            Some(_) => {}
            None => {
                repository
                    .complete(&self.main.url, &revision.checksum)
                    .await?
            }
        }
        let commit = repository.commit_of(&revision.checksum).await?;
        let file = tree.upper_dir().join(FILE);
        let name = name_in_bundle(&revision.reference);
        repository.write_bundle(&file, &name, &commit).await?;
        Ok(tree)
    }
}

/// Where blobs that are bundles come from.
#[derive(Clone)]
pub(super) struct Bundles {
    pub(super) images: ImageSource,
    pub(super) layouts: LayoutSource,
}

impl Bundles {
    /// Brings a bundle into the content store. Any of the sessions may have what it takes.
    ///
    /// A boxed future, so that whoever waits for a repository need not know how images are pulled: the types of futures
    /// would become too deep for the compiler.
    fn bring<'a>(
        &'a self,
        bundle: &'a BlobIdentifier,
        sessions: &'a [Session],
    ) -> Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send + 'a>> {
        Box::pin(async move {
            let nobody = [Session::empty()];
            let sessions = if sessions.is_empty() {
                &nobody
            } else {
                sessions
            };
            let mut outcome = Ok(());
            for session in sessions {
                outcome = self.bring_by(bundle, session).await;
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        })
    }

    async fn bring_by(
        &self,
        bundle: &BlobIdentifier,
        session: &Session,
    ) -> Result<(), SourceError> {
        let quiet = Arc::new(|_: &_, _| {});
        match &bundle.home {
            BlobHome::Registry => self.images.keep_blob(bundle, session, quiet).await,
            BlobHome::Layout { store_id, .. } => {
                let layout = session.files.oci_layout(store_id).await?;
                self.layouts.keep_blob(bundle, &layout, quiet).await
            }
        }
    }
}

impl GitDirectory {
    /// Takes in that a source is to be a bundle.
    pub(super) fn bundled(self) -> Result<Self, GitError> {
        match self {
            Self::Dropped | Self::Bundled => Ok(Self::Bundled),
            Self::Kept => Err(GitError::BundleContradiction("git.keepgitdir")),
        }
    }

    /// Takes in that a source is to have `.git`.
    pub(super) fn kept(self) -> Result<Self, GitError> {
        match self {
            Self::Dropped | Self::Kept => Ok(Self::Kept),
            Self::Bundled => Err(GitError::BundleContradiction("git.keepgitdir")),
        }
    }
}
