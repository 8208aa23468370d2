//! Checks that somebody whom a build trusts has signed a source: OpenPGP (RFC 9580) and SSH
//! (OpenSSH's PROTOCOL.sshsig).
//!
//! Keys are text as programs export them: armored blocks, or lines of an `authorized_keys` file.
//! Weak algorithms, revoked keys and signatures from the future are refused whatever is asked for.

mod error;
mod openpgp;
mod ssh;

use std::io::Cursor;

pub use error::SignatureError;
pub use openpgp::verify_openpgp;
pub use ssh::verify_ssh;

/// What SSH signatures of git's commits and tags are made for.
const GIT: &str = "git";

/// How the signatures begin that [`verify_git`] knows: git has those of tags at the end of the message.
pub const GIT_SIGNATURES: [&str; 2] = [openpgp::SIGNATURE, ssh::SIGNATURE];

/// What becomes of signatures by keys that have expired since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// The key must have been good when it signed.
    #[default]
    AtSigning,
    /// The key must be good now.
    Now,
}

/// Checks the signature of a commit or tag of git, by its kind.
///
/// `signed` is the object without its signature.
pub fn verify_git(
    signed: &[u8],
    signature: &str,
    keys: &str,
    expiry: Expiry,
) -> Result<(), SignatureError> {
    if signature.starts_with(openpgp::SIGNATURE) {
        verify_openpgp(&mut Cursor::new(signed), signature, keys, expiry)
    } else if signature.starts_with(ssh::SIGNATURE) {
        verify_ssh(signed, signature, keys, GIT)
    } else {
        Err(SignatureError::Format)
    }
}
