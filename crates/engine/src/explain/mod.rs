//! Why steps ran: what made each of them miss the cache.
//!
//! While a build runs, a `FactBook` notes what its steps are and what the solver did with them. At its end that
//! becomes [`BuildFacts`], which the history keeps with the record of the build, and [`explain`] compares them with
//! those of earlier builds: a pure function, but for the question which files of two trees differ.

mod aspect;
mod facts;
mod words;

mod actions;
mod summary;

mod book;

mod cause;
mod pairs;

mod compare;
mod differences;

mod account;
mod files;

pub(crate) use account::write;
pub use account::{Account, AccountError, MEDIA_TYPE};
pub use aspect::{Aspect, Fact};
pub(crate) use book::FactBook;
pub use cause::{Cause, Compared, Explanation, FileChange, FileChanges, Origin, Presence};
pub use compare::{Earlier, FileComparison, TreePair, explain};
pub use facts::{
    BuildFacts, CacheUse, ContentFacts, ImageFacts, ImportFacts, Outcome, StepFacts, StepKind,
};
pub(crate) use summary::kind;
