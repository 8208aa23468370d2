//! The stream that a layer's form calls for.

use std::collections::BTreeMap;
use std::io::{self, Write};

use oci_spec::image::Digest;

use super::{Algorithm, CompressedWriter, Compression, EstargzWriter, Pool, ZstdChunkedWriter};

/// Compresses a layer's tar in any of the forms.
pub(crate) enum LayerStream<W> {
    /// The tar as a whole.
    Whole(CompressedWriter<W>),
    /// File by file.
    Estargz(Box<EstargzWriter<W>>),
    /// File by file, too.
    ZstdChunked(Box<ZstdChunkedWriter<W>>),
}

/// What a layer is known by in its form, beside its digest.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The digest of its tar, if that is not the one that was written.
    pub(crate) diff_id: Option<Digest>,
    /// Annotations that its descriptor must have.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl<W: Write> LayerStream<W> {
    pub(crate) fn new(pool: &Pool, compression: &Compression, sink: W) -> Self {
        match compression.algorithm {
            Algorithm::Estargz => {
                Self::Estargz(Box::new(EstargzWriter::new(pool, compression, sink)))
            }
            Algorithm::ZstdChunked => {
                Self::ZstdChunked(Box::new(ZstdChunkedWriter::new(pool, compression, sink)))
            }
            Algorithm::Uncompressed | Algorithm::Gzip | Algorithm::Zstd => {
                Self::Whole(CompressedWriter::new(pool, compression, sink))
            }
        }
    }

    /// Writes what is left and gives the sink back, and what the layer is known by.
    pub(crate) fn finish(self) -> io::Result<(W, Known)> {
        match self {
            Self::Whole(stream) => Ok((stream.finish()?, Known::default())),
            Self::Estargz(stream) => {
                let (sink, summary) = stream.finish()?;
                let known = Known {
                    diff_id: Some(summary.diff_id),
                    annotations: summary.annotations,
                };
                Ok((sink, known))
            }
            Self::ZstdChunked(stream) => {
                let (sink, annotations) = stream.finish()?;
                let known = Known {
                    diff_id: None,
                    annotations,
                };
                Ok((sink, known))
            }
        }
    }
}

impl<W: Write> Write for LayerStream<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Whole(stream) => stream.write(data),
            Self::Estargz(stream) => stream.write(data),
            Self::ZstdChunked(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Whole(stream) => stream.flush(),
            Self::Estargz(stream) => stream.flush(),
            Self::ZstdChunked(stream) => stream.flush(),
        }
    }
}
