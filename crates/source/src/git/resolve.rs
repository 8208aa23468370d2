//! Which commit a reference stands for right now.

use super::command::{Git, Reach};
use super::error::GitError;
use super::identifier::{GitDirectory, GitIdentifier, is_commit};
use crate::CacheKey;

/// What a reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRevision {
    /// Its full name, such as `refs/heads/main`, or the commit if that was asked for.
    pub reference: String,
    /// The object that it names: a commit or an annotated tag.
    pub checksum: String,
    /// The commit, if `checksum` is a tag.
    pub commit: Option<String>,
}

impl GitRevision {
    /// The cache key of what an identifier makes of it.
    pub fn cache_key(&self, identifier: &GitIdentifier) -> CacheKey {
        let object = match (&self.commit, identifier.git_directory) {
            // Several tags of one commit have the same files.
            (Some(commit), GitDirectory::Dropped | GitDirectory::Bundled) => commit,
            _ => &self.checksum,
        };
        CacheKey {
            key: identifier.cache_key(object, &self.reference),
            pin: self.checksum.clone(),
            more: false,
        }
    }

    /// The reference, if it is one that can be asked for by name.
    pub(super) fn name(&self) -> Option<&str> {
        let name = self.reference.as_str();
        (!is_commit(name)).then_some(name)
    }

    fn of_commit(reference: &str, commit: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            checksum: commit.to_owned(),
            commit: None,
        }
    }
}

/// What is known without asking anybody.
pub(super) fn known(identifier: &GitIdentifier) -> Result<Option<GitRevision>, GitError> {
    let (reference, checksum) = (&identifier.reference, &identifier.checksum);
    if is_commit(reference) {
        if !reference.starts_with(checksum.as_str()) {
            return Err(other_commit(identifier, reference));
        }
        return Ok(Some(GitRevision::of_commit(reference, reference)));
    }
    if identifier.bundle.is_some() && reference.is_empty() {
        return Ok(Some(GitRevision::of_commit(checksum, checksum)));
    }
    if !identifier.is_by_commit {
        return Ok(None);
    }
    let name = match reference.as_str() {
        "" => checksum.clone(),
        full if full.starts_with("refs/") => full.to_owned(),
        branch => format!("refs/heads/{branch}"),
    };
    Ok(Some(GitRevision::of_commit(&name, checksum)))
}

/// Asks the server.
pub(super) async fn ask(
    git: &Git,
    (url, reach): (&str, Reach),
    identifier: &GitIdentifier,
) -> Result<GitRevision, GitError> {
    let run = git.run("ls-remote").reaching(reach).showing();
    let revision = match identifier.reference.as_str() {
        "" => {
            let run = run.args(["--symref", "--", url, "HEAD"]);
            let answer = run.must("fetch default branch of").await?;
            default_branch(&String::from_utf8_lossy(&answer)).ok_or_else(|| {
                GitError::NoDefaultBranch {
                    remote: git.remote.clone(),
                }
            })?
        }
        reference => {
            let commit = format!("{reference}^{{}}");
            let run = run.args(["--", url, reference, &commit]);
            let answer = run.must("fetch remote").await?;
            named(&String::from_utf8_lossy(&answer), reference).ok_or_else(|| {
                GitError::NoReference {
                    remote: git.remote.clone(),
                    reference: reference.to_owned(),
                }
            })?
        }
    };
    check(git, identifier, revision)
}

/// What `HEAD` points to.
fn default_branch(answer: &str) -> Option<GitRevision> {
    let mut lines = answer.lines().filter_map(|line| line.split_once('\t'));
    let mut head = || lines.find_map(|(value, name)| (name == "HEAD").then_some(value));
    let branch = head()?.strip_prefix("ref: ")?;
    let commit = head()?;
    branch
        .starts_with("refs/heads/")
        .then(|| GitRevision::of_commit(branch, commit))
}

/// The reference among all whose names end so. Full names come first, then branches, as git itself chooses.
fn named(answer: &str, reference: &str) -> Option<GitRevision> {
    let find = |name: &str| {
        let mut lines = answer.lines().filter_map(|line| line.split_once('\t'));
        lines.find_map(|(object, it)| (it == name).then(|| object.to_owned()))
    };
    let below = |prefix: &str| {
        let name = reference.strip_prefix(prefix).unwrap_or(reference);
        format!("{prefix}{name}")
    };
    let (full, tag) = (below("refs/"), below("refs/tags/"));
    for name in [full, below("refs/heads/")] {
        // A tag may be called by its full name.
        if let Some(object) = find(&name).filter(|_| name != tag) {
            return Some(GitRevision::of_commit(&name, &object));
        }
    }
    let object = find(&tag)?;
    Some(GitRevision {
        commit: find(&format!("{tag}^{{}}")),
        ..GitRevision::of_commit(&tag, &object)
    })
}

fn check(
    git: &Git,
    identifier: &GitIdentifier,
    revision: GitRevision,
) -> Result<GitRevision, GitError> {
    let objects = || {
        [Some(&revision.checksum), revision.commit.as_ref()]
            .into_iter()
            .flatten()
    };
    if let Some(text) = objects().find(|it| !is_commit(it)) {
        return Err(GitError::BadAnswer {
            remote: git.remote.clone(),
            text: text.clone(),
        });
    }
    if !objects().any(|it| it.starts_with(&identifier.checksum)) {
        let actual: Vec<&str> = objects().map(String::as_str).collect();
        return Err(other_commit(identifier, &actual.join(" or ")));
    }
    Ok(revision)
}

fn other_commit(identifier: &GitIdentifier, actual: &str) -> GitError {
    GitError::OtherCommit {
        remote: identifier.shown(),
        reference: match identifier.reference.as_str() {
            "" => "the default branch".to_owned(),
            reference => reference.to_owned(),
        },
        expected: identifier.checksum.clone(),
        actual: actual.to_owned(),
    }
}
