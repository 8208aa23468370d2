//! Layer compression: what is asked for, and streams that do it in parallel.
//!
//! A stream is cut into blocks of a fixed size, which are compressed on a shared pool and written in order, so the bytes
//! never depend on the number of threads. gzip blocks become members of one gzip stream, zstd blocks frames of one zstd
//! stream; every reader of either takes them as one. An eStargz and zstd:chunked are cut where
//! their files are instead.

mod chunked;
mod codec;
mod estargz;
mod file_data;
mod flight;
mod pool;
mod scan;
mod stream;
mod writer;

use std::collections::BTreeMap;

pub(crate) use chunked::MANIFEST_CHECKSUM;
pub use chunked::ZstdChunkedWriter;
pub(crate) use estargz::TOC_DIGEST;
pub use estargz::{EstargzSummary, EstargzWriter};
pub use pool::Pool;
pub(crate) use stream::LayerStream;
pub use writer::CompressedWriter;

use serde::{Deserialize, Serialize};

use crate::options::{OptionError, attrs};

/// How layer blobs are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// Plain tar.
    Uncompressed,
    /// gzip, levels 0 to 9.
    Gzip,
    /// gzip whose files can be fetched one by one, with levels like gzip's.
    Estargz,
    /// Zstandard, levels 0 to 22.
    Zstd,
    /// Zstandard whose files can be fetched one by one, with levels like Zstandard's.
    ZstdChunked,
}

impl Algorithm {
    /// The name used in `compression=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncompressed => "uncompressed",
            Self::Gzip => "gzip",
            Self::Estargz => "estargz",
            Self::Zstd => "zstd",
            Self::ZstdChunked => "zstd:chunked",
        }
    }

    /// The level that is used where none is asked for.
    pub fn usual_level(self) -> Option<i32> {
        match self {
            Self::Uncompressed => None,
            Self::Gzip | Self::Estargz => Some(6),
            Self::Zstd | Self::ZstdChunked => Some(2),
        }
    }

    /// The highest of the levels, which begin at 0.
    pub fn highest_level(self) -> Option<i32> {
        match self {
            Self::Uncompressed => None,
            Self::Gzip | Self::Estargz => Some(9),
            Self::Zstd | Self::ZstdChunked => Some(22),
        }
    }

    /// Whether Docker's media types cannot carry it, because its annotations would be lost.
    pub fn needs_oci_types(self) -> bool {
        matches!(self, Self::Estargz | Self::ZstdChunked)
    }

    fn level(self, text: &str) -> Result<i32, OptionError> {
        match self.highest_level() {
            Some(highest) => attrs::level(text, self.name(), highest),
            None => Err(OptionError::NoLevels(text.to_owned())),
        }
    }

    /// The OCI media type of a layer so compressed.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Uncompressed => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::Estargz => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd | Self::ZstdChunked => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// The `compression`, `compression-level` and `force-compression` keys of outputs and caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    /// The algorithm for layers that have no blob yet.
    pub algorithm: Algorithm,
    /// The level; `None` is the algorithm's usual one.
    pub level: Option<i32>,
    /// Whether layers that came with a blob of another kind are compressed anew.
    pub force: bool,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Gzip,
            level: None,
            force: false,
        }
    }
}

impl Compression {
    /// The three keys, for callers that sort attributes.
    pub const KEYS: [&str; 3] = ["compression", "compression-level", "force-compression"];

    /// Reads the three keys; others are left alone.
    pub fn from_attrs(attributes: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let algorithm = match attributes.get("compression").map(String::as_str) {
            None | Some("gzip") => Algorithm::Gzip,
            Some("uncompressed") => Algorithm::Uncompressed,
            Some("zstd") => Algorithm::Zstd,
            Some("estargz") => Algorithm::Estargz,
            Some("zstd:chunked") => Algorithm::ZstdChunked,
            Some(other) => return Err(OptionError::UnsupportedCompression(other.to_owned())),
        };
        let level = attributes
            .get("compression-level")
            .map(|text| algorithm.level(text))
            .transpose()?;
        let force = attributes
            .get("force-compression")
            .map(|text| attrs::switch("force-compression", text))
            .transpose()?;
        Ok(Self {
            algorithm,
            level,
            force: force.unwrap_or(false),
        })
    }
}
