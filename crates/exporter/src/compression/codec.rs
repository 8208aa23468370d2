//! Compressing one block.

use std::io;

use zstd::zstd_safe::CParameter;

use super::Algorithm;

/// Logarithm of a zstd frame's longest window. Matches are looked for in all of it: that costs next to nothing and makes
/// level 2 as small as other builders' usual level.
const ZSTD_WINDOW: u32 = 23;

/// An algorithm with its level settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Store,
    Gzip(i32),
    Zstd(i32),
}

impl Codec {
    pub(super) fn new(algorithm: Algorithm, level: Option<i32>) -> Self {
        let level = level.or(algorithm.usual_level()).unwrap_or_default();
        match algorithm {
            Algorithm::Uncompressed => Self::Store,
            Algorithm::Gzip | Algorithm::Estargz => Self::Gzip(level.clamp(0, 9)),
            Algorithm::Zstd | Algorithm::ZstdChunked => Self::Zstd(level.clamp(0, 22)),
        }
    }

    /// Bytes of input in one block. Part of the format: another size makes other bytes.
    ///
    /// A block starts without knowledge of those before it, which costs some ratio, so it is much larger than
    /// gzip's window of 32 KiB, and as large as the window that every reader of zstd must have.
    pub(super) fn block_size(self) -> usize {
        match self {
            Self::Store => usize::MAX,
            Self::Gzip(_) => 1 << 20,
            Self::Zstd(_) => 1 << ZSTD_WINDOW,
        }
    }
}

/// The compressors of one thread, kept from block to block because their tables are costly to set up.
#[derive(Default)]
pub(super) struct Codecs {
    gzip: Option<(i32, libdeflater::Compressor)>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl Codecs {
    /// Compresses a piece of a block to a self-contained gzip member or zstd frame at the end of `output`.
    pub(super) fn compress(
        &mut self,
        codec: Codec,
        piece: &[u8],
        output: &mut Vec<u8>,
    ) -> io::Result<()> {
        let begin = output.len();
        let room = match codec {
            Codec::Store => {
                output.extend_from_slice(piece);
                return Ok(());
            }
            Codec::Gzip(level) => self.gzip(level)?.gzip_compress_bound(piece.len()),
            Codec::Zstd(_) => zstd::zstd_safe::compress_bound(piece.len()),
        };
        output.resize(begin + room, 0);
        let length = match codec {
            Codec::Store => 0,
            Codec::Gzip(level) => self
                .gzip(level)?
                .gzip_compress(piece, &mut output[begin..])
                .map_err(io::Error::other)?,
            Codec::Zstd(level) => self
                .zstd(level)?
                .compress_to_buffer(piece, &mut output[begin..])?,
        };
        output.truncate(begin + length);
        Ok(())
    }

    fn gzip(&mut self, level: i32) -> io::Result<&mut libdeflater::Compressor> {
        let kept = self.gzip.take().filter(|(kept, _)| *kept == level);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let checked = libdeflater::CompressionLvl::new(level)
                    .map_err(|_| io::Error::other(format!("gzip has no level {level}")))?;
                (level, libdeflater::Compressor::new(checked))
            }
        };
        Ok(&mut self.gzip.insert(kept).1)
    }

    fn zstd(&mut self, level: i32) -> io::Result<&mut zstd::bulk::Compressor<'static>> {
        let kept = self.zstd.take().filter(|(kept, _)| *kept == level);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let mut compressor = zstd::bulk::Compressor::new(level)?;
                compressor.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                compressor.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
                (level, compressor)
            }
        };
        Ok(&mut self.zstd.insert(kept).1)
    }
}
