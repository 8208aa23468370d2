//! Cache export and import.
//!
//! A cache is a manifest whose layers are layer blobs and whose config lists cache records: which record follows from
//! which others, and which layers hold its result. [`export`] makes one of the solver's records and brings it to its
//! [`Destination`], [`import`] reads one from there into a [`kiln_solver::Cache`]. The format is BuildKit's,
//! byte for byte, so that a cache written by either engine is hit by the other.
//!
//! A cache is a convenience: whatever is wrong with one that is imported is a miss with a warning.

mod layer;
mod options;

mod config;
mod model;

mod build;
mod inline;

mod directory;
mod place;

mod export;

mod graph;
mod keys;
mod parse;
mod results;

mod import;

pub use build::{BuildError, BuiltCache, Format};
pub use directory::DirectoryError;
pub use export::{ExportError, Exported, export};
pub use import::{Imported, import};
pub use inline::inline_records;
pub use layer::CacheLayer;
pub use options::{
    Attributes, CompressionKeys, Destination, ExportOptions, ImportOptions, OptionError, Version,
};
pub use place::Place;
