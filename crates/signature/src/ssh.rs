//! Signatures that `ssh-keygen -Y sign` makes, and git with `gpg.format = ssh`.

use ssh_key::{AuthorizedKeys, HashAlg, PublicKey, SshSig};

use crate::SignatureError;

/// How they begin.
pub(crate) const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";

/// Checks that one of `keys`, lines of an `authorized_keys` file, signed `signed` for `namespace`.
pub fn verify_ssh(
    signed: &[u8],
    signature: &str,
    keys: &str,
    namespace: &str,
) -> Result<(), SignatureError> {
    let signature = SshSig::from_pem(signature.trim_end())
        .map_err(|error| SignatureError::SshSignature(error.to_string()))?;
    if signature.namespace() != namespace {
        let other = signature.namespace().to_owned();
        return Err(SignatureError::SshNamespace(other));
    }
    let wrong = |reason: String| SignatureError::SshWrong {
        key: signature
            .public_key()
            .fingerprint(HashAlg::Sha256)
            .to_string(),
        reason,
    };
    let keys = public_keys(keys)?;
    let signer = keys
        .iter()
        .find(|key| key.key_data() == signature.public_key())
        .ok_or_else(|| wrong("it is none of the given keys".into()))?;
    signer
        .verify(namespace, signed, &signature)
        .map_err(|error| wrong(error.to_string()))
}

fn public_keys(text: &str) -> Result<Vec<PublicKey>, SignatureError> {
    let keys: Result<Vec<_>, _> = AuthorizedKeys::new(text)
        .map(|entry| entry.map(|entry| entry.public_key().clone()))
        .collect();
    match keys {
        Ok(keys) if keys.is_empty() => Err(SignatureError::SshKeys("there is none".into())),
        Ok(keys) => Ok(keys),
        Err(error) => Err(SignatureError::SshKeys(error.to_string())),
    }
}
