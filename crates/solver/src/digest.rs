//! The formulas of cache key digests.

use std::str::FromStr;

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

/// Output index of keys made from content: they belong to no output.
pub(crate) const CONTENT: i64 = -1;

/// Digest of one output of an op: the cache map's digest with the output
/// index. Digests of algorithm `random`, which never match anything made
/// later, keep their algorithm.
pub fn root_key(digest: &Digest, output: i64) -> Digest {
    if !is_random(digest) {
        return derived(digest, &format!("@{output}"));
    }
    // Such keys never leave this machine; outputs only have to differ.
    match output {
        0 => digest.clone(),
        _ => Digest::from_str(&format!("{digest}-{output}")).unwrap_or_else(|_| digest.clone()),
    }
}

/// Whether the digest was made up for one session.
pub(crate) fn is_random(digest: &Digest) -> bool {
    digest.algorithm().as_ref() == "random"
}

/// SHA-256 of a digest's text and a suffix.
pub(crate) fn derived(digest: &Digest, suffix: &str) -> Digest {
    let mut hash = Sha256::new();
    hash.update(digest.as_ref());
    hash.update(suffix);
    let text = format!("sha256:{}", hex::encode(hash.finalize()));
    // A SHA-256 in hex always parses; the fallback only spares a panic path.
    Digest::from_str(&text).unwrap_or_else(|_| digest.clone())
}
