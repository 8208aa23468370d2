//! The trees of `RUN --mount=type=cache`, kept beside a cache.
//!
//! They are an artifact of their own, an OCI image manifest under the cache's tag with `.mounts` behind it, so nothing
//! of the cache itself changes for those who do not know of them. Its layers are *trees*, archives of everything but
//! the data of files, one for each mount, and *packs* of chunks; its config is the index that leads
//! from a mount to its tree and chunks. A mount's data is that of its files, one after the other, cut where its content
//! says, so what two mounts or two exports have in common is stored once.
//!
//! [`export_mounts`] writes one, and only what is not there yet; [`MountSource`] reads one when a step needs it.

mod chunk;
mod keys;

mod artifact;
mod index;

mod collect;
mod pack;

mod find;
mod put;

mod export;

mod rejoin;
mod source;

pub use artifact::MountError;
pub use export::{ExportedMounts, MountTree, MountsExport, export_mounts};
pub use keys::{MountKeys, MountsWanted};
pub use rejoin::KeptTree;
pub use source::MountSource;
