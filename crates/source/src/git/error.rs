//! Why a repository could not be had.

use std::io;

use kiln_signature::SignatureError;

use super::command::Failed;

/// An error of a git source. Repositories are named without credentials.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git on this machine.
    #[error("failed to find git binary: git sources need the program git in PATH")]
    NoProgram,
    /// git could not be started, or not be listened to.
    #[error("cannot run git: {0}")]
    Run(#[source] io::Error),
    /// The build was stopped.
    #[error("git was stopped")]
    Stopped,
    /// It says more than anybody needs.
    #[error("git {subcommand} of {remote} says more than {limit} bytes")]
    TooLong {
        /// What git was to do.
        subcommand: &'static str,
        /// The repository.
        remote: String,
        /// What is read of it.
        limit: usize,
    },
    /// The address is none.
    #[error("invalid git URL {url:?}: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The reference is none.
    #[error("invalid git ref {0:?}")]
    Reference(String),
    /// The checksum is none.
    #[error("invalid checksum {0} for Git URL, expected hex commit hash")]
    Checksum(String),
    /// Nothing says which commit.
    #[error("fetch-by-commit requires a checksum or a commit SHA ref")]
    ByCommitWithoutChecksum,
    /// The commit is not named in full.
    #[error("fetch-by-commit requires a full commit SHA checksum, got {0:?}")]
    ByCommitPrefix(String),
    /// A secret that cannot be used.
    #[error("failed to use git auth secret {id}: it {reason}")]
    Secret {
        /// The secret.
        id: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// No client lends the agent.
    #[error("no SSH key {agent:?} forwarded from the client, which {remote} needs")]
    NoAgent {
        /// The agent.
        agent: String,
        /// The repository.
        remote: String,
    },
    /// git says why it failed.
    #[error("failed to {action} {remote}: {failed}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The repository.
        remote: String,
        /// What git said.
        failed: Failed,
    },
    /// The repository does not say which branch is its default one.
    #[error("could not find default branch for repository: {remote}")]
    NoDefaultBranch {
        /// The repository.
        remote: String,
    },
    /// The reference does not exist.
    #[error("repository does not contain ref {reference}: {remote} has no such branch or tag")]
    NoReference {
        /// The repository.
        remote: String,
        /// What was asked for.
        reference: String,
    },
    /// The repository answers with something else than a name of an object.
    #[error("invalid commit sha {text:?} from {remote}")]
    BadAnswer {
        /// The repository.
        remote: String,
        /// What it says.
        text: String,
    },
    /// The commit is another one than demanded.
    #[error("expected checksum to match {expected}, got {actual} for {reference} of {remote}")]
    OtherCommit {
        /// The repository.
        remote: String,
        /// What was asked for.
        reference: String,
        /// The checksum.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The commit is not in the repository, or its server does not give it.
    #[error("{remote} does not give commit {commit}: no branch or tag leads to it")]
    NoCommit {
        /// The repository.
        remote: String,
        /// The commit.
        commit: String,
    },
    /// The directory is not there, or is none.
    #[error("invalid subdir {subdir} of {remote}: {place:?} {reason}")]
    Subdir {
        /// The repository, with the reference.
        remote: String,
        /// What was asked for.
        subdir: String,
        /// The part of the path that is wrong.
        place: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A submodule cannot be had.
    #[error("submodule {path:?} of {remote}: {reason}")]
    Submodule {
        /// The repository that it is part of.
        remote: String,
        /// Where it is.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Submodules inside of submodules without end.
    #[error("submodules of {remote} are nested more than {limit} deep")]
    TooDeep {
        /// The repository.
        remote: String,
        /// How deep they may be.
        limit: usize,
    },
    /// The files could not be put in their place.
    #[error("checkout of {remote}: cannot {action}: {source}")]
    Write {
        /// The repository.
        remote: String,
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A bundle is not named in a way that can be understood.
    #[error("failed to parse git.bundle locator {locator:?}: {reason}")]
    Bundle {
        /// What was given.
        locator: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing says which commit of a bundle.
    #[error("git.bundle requires git.checksum to be set")]
    BundleWithoutChecksum,
    /// The wanted commit is not in the bundle.
    #[error("commit {commit} not found in bundle of {remote}")]
    NotInBundle {
        /// The repository that it is a bundle of.
        remote: String,
        /// The commit.
        commit: String,
    },
    /// A bundle is one file.
    #[error("git.checkoutbundle is incompatible with {0}")]
    BundleContradiction(&'static str),
    /// Nobody is trusted.
    #[error("git.sig.* needs the keys that are trusted: give them as git.sig.pubkey")]
    NoSignatureKeys,
    /// A tag's signature is both needed and not to be looked at.
    #[error("git.sig.requiresignedtag and git.sig.ignoresignedtag contradict each other")]
    SignedTagContradiction,
    /// There is no annotated tag to be signed.
    #[error("signed tag required but no signed tag found: {remote} is no annotated tag")]
    NoSignedTag {
        /// The repository, with the reference.
        remote: String,
    },
    /// Nobody signed it.
    #[error("git object is not signed: {what}")]
    NotSigned {
        /// Commit or tag, with the repository.
        what: String,
    },
    /// Nobody who is trusted signed it.
    #[error("signature of the {what} of {remote}: {source}")]
    Signature {
        /// Commit or tag.
        what: &'static str,
        /// The repository, with the reference.
        remote: String,
        /// What does not fit.
        #[source]
        source: SignatureError,
    },
    /// An object that cannot be understood.
    #[error("invalid {what} {name} in {remote}")]
    Object {
        /// Commit or tag.
        what: &'static str,
        /// Its name.
        name: String,
        /// The repository.
        remote: String,
    },
}

impl GitError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProgram => Some("install the package git on the machine that builds"),
            Self::NoAgent { .. } => {
                Some("give the build an agent with --ssh default, or use an https address")
            }
            Self::NoReference { .. } | Self::NoDefaultBranch { .. } => {
                Some("list what is there with: git ls-remote URL")
            }
            Self::NoCommit { .. } => Some("name the whole commit, or the branch that it is on"),
            Self::Failed { failed, .. } => failed.hint(),
            _ => None,
        }
    }

    /// Whether the network or this machine is in the way, rather than what was asked for.
    pub fn is_of_environment(&self) -> bool {
        match self {
            Self::NoProgram | Self::Run(_) | Self::Write { .. } => true,
            Self::Failed { failed, .. } => failed.is_of_network(),
            _ => false,
        }
    }
}
