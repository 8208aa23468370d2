//! Content checksums of paths in a tree: upstream's cache keys of what a step reads.
//!
//! A checksum covers names, permission bits, owners, link targets, extended attributes and content, and leaves out
//! times. [`Checksums`] remembers what it has computed for one immutable tree and serialises to a compact blob, so
//! that an unchanged tree is never hashed twice.

mod blob;
mod changes;
mod header;
mod select;
mod sums;
mod tree;

use oci_spec::image::Digest;

pub use changes::{Change, Changes, PathChange, SummedTree, changes};
pub use header::FileHash;
pub use sums::Checksums;

use crate::pattern::PatternError;
use crate::tree::TreeError;

/// What a checksum covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChecksumOptions {
    /// Follow a symlink at the end of the path.
    pub follow_links: bool,
    /// The path is a pattern.
    pub wildcard: bool,
    /// Cover only what matches one of these (paths relative to `path`, or to what it matches).
    pub include: Vec<String>,
    /// Cover nothing that matches one of these.
    pub exclude: Vec<String>,
    /// Paths that must be among what is covered.
    pub required: Vec<String>,
}

impl ChecksumOptions {
    /// Whether a path is just that path.
    fn is_plain(&self) -> bool {
        !self.wildcard && self.include.is_empty() && self.exclude.is_empty()
    }
}

/// How the root directory itself counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootHeader {
    /// Like any directory: a snapshot.
    #[default]
    Counted,
    /// Not at all: a local source, of whose root no attributes are sent. In return device numbers count in one, which
    /// upstream overlooks in snapshots.
    Ignored,
}

/// Why a checksum could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum ChecksumError {
    /// Nothing is at the path. Upstream's text.
    #[error("{0:?}: not found")]
    NotFound(String),
    /// A path with patterns is malformed.
    #[error("{0}: syntax error in pattern")]
    Wildcard(String),
    /// An include or exclude pattern is malformed.
    #[error("invalid {list}patterns: {source}")]
    Patterns {
        /// `include` or `exclude`.
        list: &'static str,
        /// What is wrong.
        source: PatternError,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A stored cache is of another version or damaged; start with an empty one.
    #[error("checksum cache is damaged or of another version")]
    Cache,
    /// A digest could not be put into its text form.
    #[error("digest: {0}")]
    Digest(String),
}

/// A SHA-256 value.
type Sum = [u8; 32];

/// The text form in which sums are hashed again.
fn text(sum: &Sum) -> String {
    format!("sha256:{}", hex::encode(sum))
}

fn to_digest(sum: &Sum) -> Result<Digest, ChecksumError> {
    Digest::try_from(text(sum)).map_err(|error| ChecksumError::Digest(error.to_string()))
}
