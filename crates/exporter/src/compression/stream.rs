//! The stream that a layer's form calls for.

use std::io::{self, Write};

use super::{Algorithm, CompressedWriter, Compression, EstargzSummary, EstargzWriter, Pool};

/// Compresses a layer's tar in any of the forms.
pub(crate) enum LayerStream<W> {
    /// The tar as a whole.
    Whole(CompressedWriter<W>),
    /// File by file.
    Estargz(Box<EstargzWriter<W>>),
}

impl<W: Write> LayerStream<W> {
    pub(crate) fn new(pool: &Pool, compression: &Compression, sink: W) -> Self {
        match compression.algorithm {
            Algorithm::Estargz => {
                Self::Estargz(Box::new(EstargzWriter::new(pool, compression, sink)))
            }
            Algorithm::Uncompressed | Algorithm::Gzip | Algorithm::Zstd => {
                Self::Whole(CompressedWriter::new(pool, compression, sink))
            }
        }
    }

    /// Writes what is left and gives the sink back, and what the layer is known by if that is not the tar's digest.
    pub(crate) fn finish(self) -> io::Result<(W, Option<EstargzSummary>)> {
        match self {
            Self::Whole(stream) => Ok((stream.finish()?, None)),
            Self::Estargz(stream) => {
                let (sink, summary) = stream.finish()?;
                Ok((sink, Some(summary)))
            }
        }
    }
}

impl<W: Write> Write for LayerStream<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Whole(stream) => stream.write(data),
            Self::Estargz(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Whole(stream) => stream.flush(),
            Self::Estargz(stream) => stream.flush(),
        }
    }
}
