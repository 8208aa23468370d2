//! Caches that come from elsewhere and go elsewhere: `--import-cache` and
//! `--export-cache`. Whatever is wrong with an import is a miss and a
//! warning.

mod export;
mod import;
mod remotes;

pub(crate) use export::{CacheExport, export_all, inline_records, parse_exports};
pub(crate) use import::{import_all, parse_imports};
