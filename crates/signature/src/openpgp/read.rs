//! Reads armored signatures and keys.

use pgp::composed::{Deserializable as _, DetachedSignature, PublicOrSecret, SignedPublicKey};
use pgp::packet::{Signature, SignatureType};

use crate::SignatureError;

/// How armored signatures begin.
pub(crate) const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// How armored blocks of any kind begin.
const BLOCK: &str = "-----BEGIN ";

/// The first signature of an armored block.
pub(super) fn signature(text: &str) -> Result<Signature, SignatureError> {
    let unreadable = |reason: String| SignatureError::Signature(reason);
    let (read, _) =
        DetachedSignature::from_string(text).map_err(|error| unreadable(error.to_string()))?;
    let signature = read.signature;
    match signature.typ() {
        Some(SignatureType::Binary | SignatureType::Text) => Ok(signature),
        _ => Err(unreadable("it is not a signature of a file".into())),
    }
}

/// All keys of all blocks of a text.
pub(super) fn certificates(text: &str) -> Result<Vec<SignedPublicKey>, SignatureError> {
    let mut certificates = Vec::new();
    let mut rest = text.find(BLOCK).map(|at| &text[at..]);
    while let Some(from) = rest {
        let next = from[BLOCK.len()..].find(BLOCK);
        let (block, behind) = match next {
            Some(at) => {
                let (block, behind) = from.split_at(BLOCK.len() + at);
                (block, Some(behind))
            }
            None => (from, None),
        };
        add(block, &mut certificates)?;
        rest = behind;
    }
    match certificates.is_empty() {
        true => Err(SignatureError::Keys(
            "no armored data found; export it with gpg --armor --export".into(),
        )),
        false => Ok(certificates),
    }
}

/// Adds the keys of a block. Of a private key its public part is taken.
fn add(block: &str, certificates: &mut Vec<SignedPublicKey>) -> Result<(), SignatureError> {
    let unreadable = |error: pgp::errors::Error| SignatureError::Keys(error.to_string());
    let (keys, _) = PublicOrSecret::from_armor_many(block.as_bytes()).map_err(unreadable)?;
    for key in keys {
        certificates.push(match key.map_err(unreadable)? {
            PublicOrSecret::Public(key) => key,
            PublicOrSecret::Secret(key) => key.to_public_key(),
        });
    }
    Ok(())
}
