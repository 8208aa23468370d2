//! Cache export and import.
//!
//! A cache is a manifest whose layers are layer blobs and whose config lists cache records: which record follows from
//! which others, and which layers hold its result. [`export`] makes one of the solver's records and brings it to its
//! [`Destination`], [`import`] reads one from there into a [`kiln_solver::Cache`]. The format is BuildKit's,
//! byte for byte, so that a cache written by either engine is hit by the other. Stores that know blobs and names only
//! (buckets, web servers, GitHub's service) have the config under a name, and no manifest.
//!
//! A cache is a convenience: whatever is wrong with one that is imported is a miss with a warning.

mod layer;
mod options;

mod config;
mod model;

mod build;
mod inline;
mod stored;

mod directory;
mod losses;
mod place;
mod stores;

mod export;

mod graph;
mod keys;
mod parse;
mod results;

mod image;
mod import;
mod manifest;

pub mod mounts;

pub use build::{BuildError, BuiltCache, Format};
pub use directory::DirectoryError;
pub use export::{ExportError, Exported, export};
pub use graph::CachedLayers;
pub use import::{Imported, import};
pub use inline::inline_records;
pub use layer::CacheLayer;
pub use losses::Losses;
pub use options::{
    Attributes, AzblobOptions, CompressionKeys, Destination, ExportOptions, GcsOptions, GhaOptions,
    GhaProtocol, HttpLogin, HttpOptions, ImportOptions, Layout, OptionError, S3Login, S3Options,
    Secret, StoreOptions, Version,
};
pub use place::Place;
pub use stores::{RemoteStore, StoreEnvironment, StoreError};
