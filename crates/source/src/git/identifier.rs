//! What a `git://` source asks for.

use std::collections::BTreeMap;

use kiln_llb::attr;
use kiln_llb::git_url::{GitUrl, is_git_transport};
use kiln_llb::redact;

use super::bundle;
use super::error::GitError;
use super::signature::GitSignature;
use crate::attribute::invalid;
use crate::error::SourceError;
use crate::image::BlobIdentifier;

/// A revision of a repository, and what becomes of it here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitIdentifier {
    /// The repository, as git itself is given it; may have credentials.
    pub remote: String,
    /// Branch, tag, commit or full name of a reference; empty for the default branch.
    pub reference: String,
    /// Directory inside the repository; empty for all of it.
    pub subdir: String,
    /// `git.checksum`: how the name of the commit or of the annotated tag begins; empty if any will do.
    pub checksum: String,
    /// `git.fetchbycommit`: the reference is not asked for; the checksum is the commit.
    pub is_by_commit: bool,
    /// `git.bundle`: a blob that is a bundle; commits come from there, and not from the repository.
    pub bundle: Option<BlobIdentifier>,
    /// `git.keepgitdir`, `git.checkoutbundle`.
    pub git_directory: GitDirectory,
    /// `git.skipsubmodules`.
    pub submodules: Submodules,
    /// `git.mtime`.
    pub times: GitTimes,
    /// Not an attribute: whoever builds may want those of earlier times.
    pub modes: GitModes,
    /// `git.authtokensecret`: the secret that is a token.
    pub token_secret: String,
    /// `git.authheadersecret`: the secret that is an `Authorization` header.
    pub header_secret: String,
    /// `git.mountsshsock`: the agent for ssh; empty for none.
    pub ssh_agent: String,
    /// `git.knownsshhosts`: lines as of a `known_hosts` file; if empty, any host is believed.
    pub known_hosts: String,
    /// `git.sig.*`: who must have signed it; anybody may have made it, if absent.
    pub signature: Option<GitSignature>,
}

/// Whether files come with their repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitDirectory {
    /// Files only.
    #[default]
    Dropped,
    /// With `.git`.
    Kept,
    /// The repository alone, as a bundle: one file, `bundle`.
    Bundled,
}

/// Whether the repositories inside come, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Submodules {
    /// All of them, and those inside them.
    #[default]
    Included,
    /// Their directories stay empty.
    Skipped,
}

/// Modification times of what is checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitTimes {
    /// When it was checked out.
    #[default]
    Checkout,
    /// When it was committed.
    Commit,
}

/// Modes of what is checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitModes {
    /// As git has them: 0644 and 0755.
    #[default]
    Usual,
    /// Everybody may write to files that are no programs, as with BuildKit before 0.15.
    Open,
}

impl GitIdentifier {
    /// Reads a source op's URL, without its scheme, and attributes.
    pub fn parse(rest: &str, attributes: &BTreeMap<String, String>) -> Result<Self, SourceError> {
        let url = with_transport(rest);
        let parsed = GitUrl::parse(&url).map_err(|error| GitError::Url {
            url: redact::credentials(&url),
            reason: error.to_string(),
        })?;
        let mut identifier = Self {
            remote: parsed.remote,
            reference: parsed.reference,
            subdir: parsed.subdir,
            ..Self::default()
        };
        for (name, value) in attributes {
            identifier.set(name, value)?;
        }
        if let Some(text) = attributes
            .get(attr::GIT_BUNDLE)
            .filter(|text| !text.is_empty())
        {
            identifier.bundle = Some(bundle::locator(text, attributes)?);
        }
        identifier.check()?;
        Ok(identifier)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SourceError> {
        match name {
            attr::GIT_KEEP_DIR if value == "true" => {
                self.git_directory = self.git_directory.kept()?;
            }
            attr::GIT_CHECKOUT_BUNDLE if value == "true" => {
                self.git_directory = self.git_directory.bundled()?;
            }
            attr::GIT_FULL_URL => self.remote = with_transport(value),
            attr::GIT_AUTH_HEADER_SECRET => value.clone_into(&mut self.header_secret),
            attr::GIT_AUTH_TOKEN_SECRET => value.clone_into(&mut self.token_secret),
            attr::GIT_KNOWN_SSH_HOSTS => value.clone_into(&mut self.known_hosts),
            attr::GIT_MOUNT_SSH_SOCK => value.clone_into(&mut self.ssh_agent),
            attr::GIT_CHECKSUM => value.clone_into(&mut self.checksum),
            attr::GIT_SKIP_SUBMODULES if value == "true" => self.submodules = Submodules::Skipped,
            attr::GIT_FETCH_BY_COMMIT => self.is_by_commit = value == "true",
            attr::GIT_MTIME => {
                self.times = match value {
                    "" | "checkout" => GitTimes::Checkout,
                    "commit" => GitTimes::Commit,
                    _ => {
                        let reason = ": write checkout or commit".to_owned();
                        return Err(invalid("git.mtime", value, reason));
                    }
                }
            }
            name if GitSignature::ATTRIBUTES.contains(&name) => {
                self.signature.get_or_insert_default().set(name, value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SourceError> {
        if self.remote.contains(|c: char| c.is_control()) {
            return Err(GitError::Url {
                url: redact::credentials(&self.remote).escape_debug().to_string(),
                reason: "it contains control characters".into(),
            }
            .into());
        }
        // What begins with a dash would be an option to git.
        if self.reference.starts_with('-') || self.reference.contains(|c: char| c.is_control()) {
            return Err(GitError::Reference(self.reference.clone()).into());
        }
        if !self.checksum.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(GitError::Checksum(self.checksum.clone()).into());
        }
        if let Some(signature) = &self.signature
            && signature.keys.is_empty()
        {
            return Err(GitError::NoSignatureKeys.into());
        }
        self.check_bundle()?;
        if !self.is_by_commit || is_commit(&self.reference) {
            return Ok(());
        }
        match self.checksum.as_str() {
            "" => Err(GitError::ByCommitWithoutChecksum.into()),
            checksum if !is_commit(checksum) => {
                Err(GitError::ByCommitPrefix(checksum.to_owned()).into())
            }
            _ => Ok(()),
        }
    }

    fn check_bundle(&self) -> Result<(), GitError> {
        if self.git_directory == GitDirectory::Bundled && !self.subdir.is_empty() {
            return Err(GitError::BundleContradiction("git.subdir"));
        }
        let is_named = !self.reference.is_empty();
        match (&self.bundle, self.checksum.as_str()) {
            (None, _) => Ok(()),
            (Some(_), "") => Err(GitError::BundleWithoutChecksum),
            (Some(_), checksum) if !is_named && !is_commit(checksum) => {
                Err(GitError::ByCommitPrefix(checksum.to_owned()))
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// The repository as it may be shown.
    pub fn shown(&self) -> String {
        redact::credentials(&self.remote)
    }

    /// The repository with the reference that was asked for, as provenance names it.
    pub fn url(&self) -> String {
        match self.reference.as_str() {
            "" => self.shown(),
            reference => format!("{}#{reference}", self.shown()),
        }
    }

    /// Ids of the secrets that may open the repository.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secrets = [self.token_secret.as_str(), self.header_secret.as_str()];
        secrets.into_iter().filter(|id| !id.is_empty())
    }

    /// The agent that opens it by ssh.
    pub fn agent(&self) -> Option<&str> {
        Some(self.ssh_agent.as_str()).filter(|id| !id.is_empty())
    }

    /// BuildKit's cache key of a commit, found by a reference with this name.
    pub(super) fn cache_key(&self, commit: &str, reference: &str) -> String {
        let mut key = commit.to_owned();
        if self.git_directory == GitDirectory::Kept {
            key += ".git";
            if !reference.is_empty() {
                key += "#";
                key += reference;
            }
        }
        if !self.subdir.is_empty() {
            key += ":";
            key += &self.subdir;
        }
        if self.submodules == Submodules::Skipped {
            key += "(skip-submodules)";
        }
        if self.times == GitTimes::Commit {
            key += "(mtime=commit)";
        }
        if self.git_directory == GitDirectory::Bundled {
            key += &bundle::key(reference);
        }
        if self.modes == GitModes::Open {
            key += "(modes=open)";
        }
        key
    }
}

fn with_transport(url: &str) -> String {
    match is_git_transport(url) {
        true => url.to_owned(),
        false => format!("https://{url}"),
    }
}

/// Whether a text is the whole name of an object, by SHA-1 or SHA-256.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
