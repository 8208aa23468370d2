//! A root file system and everything a build does inside it.
//!
//! [`Root`] is the only door: every path is resolved inside the root by the kernel (`openat2`), symlinks and `..`
//! included, so no path can lead out of it. What happens there has the semantics of LLB's file actions.

mod archive;
mod attributes;
mod copy;
mod decompress;
mod dir;
mod error;
mod extract;
mod make;
mod metadata;
mod mode;
mod remove;
mod root;
mod stack;

pub use copy::CopyRequest;

pub use error::TreeError;
pub use make::{Mkdir, Mkfile, Symlink};
pub use metadata::{FileKind, Follow, Metadata, Owner};
pub use mode::ModeChange;
pub use remove::Remove;
pub use root::{DirEntry, Root};

pub(crate) use dir::{Dir, HIDDEN_XATTRS, Name, file_xattrs};
pub(crate) use error::reason;
pub(crate) use extract::{ExtractOwner, Extractor, Spot};
pub(crate) use stack::level;
