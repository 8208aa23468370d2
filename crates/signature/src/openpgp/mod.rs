//! Detached OpenPGP signatures.

mod certificate;
mod read;

use std::io::{Read, Seek};

use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::Signature;
use pgp::types::Timestamp;

use crate::{Expiry, SignatureError};
use certificate::Signer;

pub(crate) use read::SIGNATURE;

/// How far, in seconds, a signer's clock may be ahead.
const AHEAD: u32 = 5 * 60;

/// Checks that one of `keys`, armored and one after the other, made the armored `signature` of what
/// `signed` has from its beginning.
pub fn verify_openpgp<R: Read + Seek>(
    signed: &mut R,
    signature: &str,
    keys: &str,
    expiry: Expiry,
) -> Result<(), SignatureError> {
    let signature = read::signature(signature)?;
    let certificates = read::certificates(keys)?;
    let made = acceptable(&signature)?;
    let now = Timestamp::now();
    let at = match expiry {
        Expiry::AtSigning => made,
        Expiry::Now => now,
    };
    let issuer = issuer(&signature)?;
    let unknown = SignatureError::UnknownIssuer {
        issuer: issuer.clone(),
    };
    let mut outcome = Err(unknown);
    for certificate in &certificates {
        for signer in Signer::candidates(certificate, &signature) {
            signed.rewind()?;
            outcome = signer.check(&mut *signed, &signature, &issuer, at);
            if outcome.is_ok() {
                let seconds = made.as_secs().saturating_sub(now.as_secs());
                return match seconds > AHEAD {
                    true => Err(SignatureError::Future { seconds }),
                    false => Ok(()),
                };
            }
        }
    }
    outcome
}

/// When a signature was made, if nobody else can have made it by force.
fn acceptable(signature: &Signature) -> Result<Timestamp, SignatureError> {
    let unreadable = |reason: &str| SignatureError::Signature(reason.to_owned());
    let config = signature
        .config()
        .ok_or_else(|| unreadable("its version is not known"))?;
    if !matches!(
        config.hash_alg,
        HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512
    ) {
        return Err(SignatureError::Hash(config.hash_alg.to_string()));
    }
    if !matches!(
        config.pub_alg,
        PublicKeyAlgorithm::RSA
            | PublicKeyAlgorithm::RSASign
            | PublicKeyAlgorithm::ECDSA
            | PublicKeyAlgorithm::EdDSALegacy
            | PublicKeyAlgorithm::Ed25519
    ) {
        return Err(SignatureError::Algorithm(format!("{:?}", config.pub_alg)));
    }
    let made = signature.created();
    made.ok_or_else(|| unreadable("it does not say when it was made"))
}

/// Who says to have made a signature, as people write it.
fn issuer(signature: &Signature) -> Result<String, SignatureError> {
    let ids = signature.issuer_key_id();
    let fingerprints = signature.issuer_fingerprint();
    let id = ids.first().map(ToString::to_string);
    let name = id.or_else(|| fingerprints.first().map(ToString::to_string));
    let name = name.ok_or(SignatureError::NoIssuer)?;
    Ok(name.to_ascii_uppercase())
}
