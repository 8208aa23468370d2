//! The same tar in another compression.

use std::fs::File;
use std::io::{self, Read, Write};
use std::str::FromStr;

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::compression::Algorithm;

/// Copies the tar inside of a blob to `out` and answers its digest.
pub(super) fn copy_tar(
    blob: File,
    algorithm: Algorithm,
    mut out: impl Write,
) -> io::Result<Digest> {
    let blob = io::BufReader::with_capacity(256 << 10, blob);
    let mut tar: Box<dyn Read> = match algorithm {
        Algorithm::Uncompressed => Box::new(blob),
        Algorithm::Gzip | Algorithm::Estargz => {
            Box::new(flate2::bufread::MultiGzDecoder::new(blob))
        }
        Algorithm::Zstd | Algorithm::ZstdChunked => {
            Box::new(zstd::stream::read::Decoder::with_buffer(blob)?)
        }
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = match tar.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..length]);
        out.write_all(&buffer[..length])?;
    }
    let text = format!("sha256:{}", hex::encode(hash.finalize()));
    Digest::from_str(&text).map_err(io::Error::other)
}
