//! Content digests of ops.

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};
use std::str::FromStr;

/// The SHA-256 digest of `bytes`, which is what names an op in a definition.
pub fn digest_of(bytes: impl AsRef<[u8]>) -> Digest {
    let text = format!("sha256:{}", hex::encode(Sha256::digest(bytes.as_ref())));
    match Digest::from_str(&text) {
        Ok(digest) => digest,
        Err(error) => unreachable!("{text} is a digest by construction: {error}"),
    }
}
