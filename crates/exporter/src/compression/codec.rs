//! Compressing one block.

use std::io;

use super::Algorithm;

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
            Algorithm::Gzip => Self::Gzip(level.clamp(0, 9)),
            Algorithm::Zstd => Self::Zstd(level.clamp(0, 22)),
        }
    }

    /// Bytes of input in one block. Part of the format: another size makes other bytes.
    ///
    /// A block starts without knowledge of those before it, which costs some ratio, so it is much larger than the
    /// algorithm's window: 32 KiB for gzip, 2 MiB for zstd at its usual level.
    pub(super) fn block_size(self) -> usize {
        match self {
            Self::Store => usize::MAX,
            Self::Gzip(_) => 1 << 20,
            Self::Zstd(_) => 4 << 20,
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
    /// Compresses a block to a self-contained gzip member or zstd frame.
    pub(super) fn compress(&mut self, codec: Codec, block: &[u8]) -> io::Result<Vec<u8>> {
        match codec {
            Codec::Store => Ok(block.to_vec()),
            Codec::Gzip(level) => self.gzip(level, block),
            Codec::Zstd(level) => self.zstd(level, block),
        }
    }

    fn gzip(&mut self, level: i32, block: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.gzip {
            Some((kept, compressor)) if *kept == level => compressor,
            slot => {
                let level_in_library = libdeflater::CompressionLvl::new(level)
                    .map_err(|_| io::Error::other(format!("gzip has no level {level}")))?;
                &mut slot
                    .insert((level, libdeflater::Compressor::new(level_in_library)))
                    .1
            }
        };
        let mut output = vec![0; compressor.gzip_compress_bound(block.len())];
        let length = compressor
            .gzip_compress(block, &mut output)
            .map_err(io::Error::other)?;
        output.truncate(length);
        output.shrink_to_fit();
        Ok(output)
    }

    fn zstd(&mut self, level: i32, block: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.zstd {
            Some((kept, compressor)) if *kept == level => compressor,
            slot => &mut slot.insert((level, zstd::bulk::Compressor::new(level)?)).1,
        };
        let mut output = compressor.compress(block)?;
        output.shrink_to_fit();
        Ok(output)
    }
}
