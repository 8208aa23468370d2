//! Why a signature does not hold.

use std::io;

/// An error of a signature. Texts begin as BuildKit's do.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is no signature of a kind that is known.
    #[error(
        "invalid signature format: it begins neither with -----BEGIN PGP SIGNATURE----- nor with -----BEGIN SSH SIGNATURE-----"
    )]
    Format,
    /// The signature cannot be read.
    #[error("failed to decode armored signature: {0}")]
    Signature(String),
    /// The keys cannot be read.
    #[error("failed to read armored public key: {0}")]
    Keys(String),
    /// What is signed cannot be read.
    #[error("failed to read what is signed: {0}")]
    Signed(#[from] io::Error),
    /// The hash can be forged, or is not known.
    #[error("rejecting weak/unknown hash: {0}; sign with SHA256, SHA384 or SHA512")]
    Hash(String),
    /// The algorithm is too old, or not known.
    #[error("rejecting unsupported pubkey algorithm: {0}; sign with EdDSA, ECDSA or RSA")]
    Algorithm(String),
    /// It says nothing about who made it.
    #[error("signature doesn't have an issuer")]
    NoIssuer,
    /// None of the keys made it.
    #[error(
        "signature by {issuer}: openpgp: signature made by unknown entity: none of the given keys has this id and may sign"
    )]
    UnknownIssuer {
        /// Id or fingerprint of the key that says to have made it.
        issuer: String,
    },
    /// Its key is known, but did not sign this.
    #[error("signature by {issuer}: openpgp: invalid signature: something else was signed")]
    Wrong {
        /// Id or fingerprint of the key.
        issuer: String,
    },
    /// The key, or the signature, was good for a time only.
    #[error("signature by {issuer}: openpgp: {what} expired")]
    Expired {
        /// Id or fingerprint of the key.
        issuer: String,
        /// What has expired.
        what: &'static str,
    },
    /// Its owner took the key back.
    #[error("key revoked{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Revoked {
        /// As the owner gives it; may be empty.
        reason: String,
    },
    /// The key can be computed.
    #[error("RSA key too short: {bits} bits; 2048 are needed")]
    ShortKey {
        /// Its length.
        bits: usize,
    },
    /// Somebody's clock is wrong.
    #[error("signature creation time is in the future: {seconds} seconds from now")]
    Future {
        /// How far.
        seconds: u32,
    },
    /// The signature by SSH cannot be read.
    #[error("failed to parse ssh signature: {0}")]
    SshSignature(String),
    /// The keys for SSH cannot be read.
    #[error("failed to parse ssh public key: {0}; give lines as of an authorized_keys file")]
    SshKeys(String),
    /// The signature was made for something else.
    #[error("unexpected SSH signature namespace: {0:?}")]
    SshNamespace(String),
    /// None of the keys signed this.
    #[error("failed to verify ssh signature by {key}: {reason}")]
    SshWrong {
        /// Fingerprint of the key that says to have made it.
        key: String,
        /// What does not fit.
        reason: String,
    },
}
