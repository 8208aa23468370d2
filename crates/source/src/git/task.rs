//! Checks out a revision with all that is in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_llb::redact;
use kiln_registry::ProxySettings;
use kiln_session::Session;
use kiln_store::{MutableOptions, MutableRef, RecordType, Store};
use tokio::task::spawn_blocking;

use super::access::{Access, Address};
use super::bundle::Bundles;
use super::checkout::{Checkout, move_up, real_directory};
use super::command::Git;
use super::error::GitError;
use super::identifier::{GitDirectory, GitIdentifier, GitModes, GitTimes, Submodules};
use super::modes;
use super::output::GitLog;
use super::repository::Repository;
use super::resolve::GitRevision;
use super::submodules::{self, Submodule};
use super::times;
use crate::blocking::blocking;
use crate::error::SourceError;

/// Submodules inside of submodules.
const MOST_NESTED: usize = 64;

/// One use of a git source.
pub(super) struct Task<'a> {
    pub(super) store: &'a Store,
    pub(super) proxies: &'a ProxySettings,
    pub(super) bundles: &'a Bundles,
    pub(super) identifier: &'a GitIdentifier,
    /// The repository that the identifier names.
    pub(super) main: Address,
    pub(super) sessions: &'a [Session],
    pub(super) log: GitLog,
}

/// A repository that is to be checked out: the main one, or a submodule.
pub(super) struct Part {
    remote: String,
    /// A commit or an annotated tag.
    object: String,
    /// The full name of its reference, if it may be asked for.
    name: Option<String>,
    /// The part of the subdirectory wanted that lies in it.
    subdir: String,
    target: PathBuf,
    depth: usize,
}

/// What a part turned out to be.
struct Written {
    submodules: Vec<Part>,
    /// When it was committed, if that is wanted.
    committed: Option<i64>,
}

impl Task<'_> {
    /// How git is run for a repository.
    pub(super) async fn git(&self, address: &Address, shown: String) -> Result<Git, SourceError> {
        let access = Access::new(self.identifier, &self.main, address, self.sessions).await?;
        Ok(Git {
            remote: shown,
            access: Arc::new(access),
            proxies: self.proxies.clone(),
            log: self.log.clone(),
        })
    }

    /// The repository that the identifier names, with no place yet.
    pub(super) fn main_part(&self, revision: &GitRevision) -> Part {
        let name = revision.name().filter(|_| !self.identifier.is_by_commit);
        Part {
            remote: self.identifier.remote.clone(),
            object: revision.checksum.clone(),
            name: name.map(str::to_owned),
            subdir: self.identifier.subdir.clone(),
            target: PathBuf::new(),
            depth: 0,
        }
    }

    /// Our repository for a part, with the part's commit in it.
    pub(super) async fn fetched<'g>(
        &self,
        git: &'g Git,
        address: &Address,
        part: &Part,
    ) -> Result<Repository<'g>, SourceError> {
        let repository = Repository::open(self.store, git, &address.url, &part.object).await?;
        // Submodules have repositories of their own.
        let bundle = match part.depth {
            0 => self.bundle_file().await?,
            _ => None,
        };
        let name = part.name.as_deref();
        match bundle {
            Some(file) => repository.unbundle(&file, &part.object).await?,
            None => repository.bring(&address.url, &part.object, name).await?,
        }
        Ok(repository)
    }

    /// The files in a new tree.
    pub(super) async fn check_out(
        &self,
        revision: &GitRevision,
    ) -> Result<MutableRef, SourceError> {
        let tree = self.new_tree().await?;
        let root = tree.upper_dir().to_owned();
        let committed = match self.identifier.subdir.as_str() {
            "" => self.fill(&root, revision).await?,
            subdir => {
                let whole = self.new_tree().await?;
                let committed = self.fill(whole.upper_dir(), revision).await?;
                self.take(whole.upper_dir(), subdir, &root).await?;
                committed
            }
        };
        if self.identifier.modes == GitModes::Open {
            let root = root.clone();
            self.on_disk("set modes", move || modes::open_all(&root))
                .await?;
        }
        if let Some(time) = committed {
            self.on_disk("set times", move || times::set_all(&root, time))
                .await?;
        }
        Ok(tree)
    }

    pub(super) async fn new_tree(&self) -> Result<MutableRef, SourceError> {
        let identifier = self.identifier;
        let options = MutableOptions {
            description: format!(
                "git snapshot for {}#{}",
                identifier.shown(),
                identifier.reference
            ),
            record_type: RecordType::SourceGitCheckout,
            created: None,
        };
        let store = self.store.clone();
        blocking(move || Ok(store.mutable(None, options)?)).await
    }

    /// Checks out everything into an empty directory; when it was committed, if that is wanted.
    async fn fill(&self, root: &Path, revision: &GitRevision) -> Result<Option<i64>, SourceError> {
        let main = Part {
            target: root.to_owned(),
            ..self.main_part(revision)
        };
        let Written {
            mut submodules,
            committed,
        } = self.write(main, revision.name()).await?;
        let has_submodules = !submodules.is_empty();
        while let Some(part) = submodules.pop() {
            if part.depth > MOST_NESTED {
                return Err(GitError::TooDeep {
                    remote: self.identifier.shown(),
                    limit: MOST_NESTED,
                }
                .into());
            }
            submodules.extend(self.write(part, None).await?.submodules);
        }
        if has_submodules && self.git_directory() == GitDirectory::Kept {
            let git = self.git(&self.main, self.identifier.shown()).await?;
            let run = git
                .run("submodule")
                .work_tree(root)
                .git_dir(&root.join(".git"));
            run.args(["absorbgitdirs"])
                .must("put the submodules in their place in")
                .await?;
        }
        Ok(committed)
    }

    /// Checks out one repository. Ours is free for others before those inside are looked for: they may need the same.
    async fn write(&self, part: Part, name: Option<&str>) -> Result<Written, SourceError> {
        let address = Address::of(&part.remote);
        let git = self
            .git(&address, redact::credentials(&part.remote))
            .await?;
        let repository = self.fetched(&git, &address, &part).await?;
        let checkout = Checkout {
            git: &git,
            repository: &repository,
            object: &part.object,
            name,
            git_directory: self.git_directory(),
            target: &part.target,
        };
        checkout.write().await?;
        let commit = repository.commit_of(&part.object).await?;
        let committed = match (part.depth, self.identifier.times) {
            (0, GitTimes::Commit) => Some(repository.time_of(&commit).await?),
            _ => None,
        };
        let found = match self.identifier.submodules {
            Submodules::Skipped => Vec::new(),
            Submodules::Included => {
                submodules::of(&repository, &commit, &part.remote, &part.subdir).await?
            }
        };
        drop(repository);
        if !found.is_empty() && self.git_directory() == GitDirectory::Kept {
            let run = git
                .run("submodule")
                .work_tree(&part.target)
                .git_dir(&part.target.join(".git"));
            run.args(["--quiet", "init"])
                .must("know the submodules of")
                .await?;
        }
        let mut submodules = Vec::new();
        for submodule in found {
            submodules.push(self.place(&part, submodule).await?);
        }
        Ok(Written {
            submodules,
            committed,
        })
    }

    /// A submodule with the directory that is there for it.
    async fn place(&self, around: &Part, submodule: Submodule) -> Result<Part, SourceError> {
        let Submodule {
            path,
            remote,
            commit,
        } = submodule;
        let (root, below) = (around.target.clone(), path.clone());
        let target = self
            .on_disk("look for a submodule's directory", move || {
                real_directory(&root, &below)
            })
            .await?;
        let target = target.map_err(|wrong| GitError::Submodule {
            remote: redact::credentials(&around.remote),
            reason: format!("{:?} {}", wrong.place, wrong.reason),
            path: path.clone(),
        })?;
        let subdir = around.subdir.strip_prefix(&path).unwrap_or_default();
        Ok(Part {
            remote,
            object: commit,
            name: None,
            subdir: subdir.trim_start_matches('/').to_owned(),
            target,
            depth: around.depth + 1,
        })
    }

    /// Moves what is in a directory of the whole checkout to where it is wanted.
    async fn take(&self, whole: &Path, subdir: &str, root: &Path) -> Result<(), SourceError> {
        let (whole, below, root) = (whole.to_owned(), subdir.to_owned(), root.to_owned());
        let moved = self
            .on_disk("move the directory wanted", move || {
                move_up(&whole, &below, &root)
            })
            .await?;
        Ok(moved.map_err(|wrong| GitError::Subdir {
            remote: self.identifier.url(),
            subdir: subdir.to_owned(),
            place: wrong.place,
            reason: wrong.reason,
        })?)
    }

    /// A repository inside of one that has lost its own makes no sense.
    fn git_directory(&self) -> GitDirectory {
        match self.identifier.subdir.as_str() {
            "" => self.identifier.git_directory,
            _ => GitDirectory::Dropped,
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        action: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, SourceError> {
        let outcome = spawn_blocking(work).await;
        let outcome = outcome.unwrap_or_else(|error| Err(io::Error::other(error)));
        Ok(outcome.map_err(|source| GitError::Write {
            remote: self.identifier.shown(),
            action: action.to_owned(),
            source,
        })?)
    }
}
