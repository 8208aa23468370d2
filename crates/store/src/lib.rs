//! Everything Kiln keeps on local disk, in one-way order: blobs by digest, overlay snapshots, refs built of them,
//! and what reclaims the space. No network, and no knowledge of builds.
//!
//! Start at [`Store`]: it opens a root directory that any number of processes may share, and hands out [`Ref`]s.

pub mod disk;
pub mod filter;
pub mod pattern;

pub mod database;
pub mod lease;

mod path;

pub mod owner;
pub mod tar;
pub mod tree;
pub mod user;
pub mod walk;

pub mod place;

pub mod apply;
pub mod checksum;
pub mod diff;

pub mod content;
pub mod images;
pub mod kept;
pub mod mount;
pub mod refs;
mod snapshot;

pub mod cache_mount;
pub mod gc;
mod reaper;

mod store;

pub use content::{Blob, ContentStore, ContentWriter};
pub use mount::{Mount, MountedDir};
pub use refs::{MutableOptions, MutableRef, RecordType, Ref};
pub use store::{Store, StoreError, StoreErrorKind, StoreOptions};
