//! Git repositories, for `ADD https://….git`, `git://` sources and contexts that are repositories.
//!
//! All of it is done by the program `git`, run so that nothing of the machine's or the repository's own
//! configuration matters. What was fetched of a repository stays in the store, for the next build to fetch what is new.

mod bundle;
mod error;
mod identifier;

mod command;

mod access;
mod output;

mod repository;
mod resolve;

mod checkout;
mod submodules;
mod times;

mod modes;
mod signature;
mod source;
mod task;

pub use error::GitError;
pub use identifier::{GitDirectory, GitIdentifier, GitModes, GitTimes, Submodules};
pub use output::GitLog;
pub use resolve::GitRevision;
pub use signature::{GitSignature, SignedTag};
pub use source::{GitObjects, GitSource};
