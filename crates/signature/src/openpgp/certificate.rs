//! Which keys of a certificate may sign, and until when (RFC 9580, sections 5.2.3 and 10.1).

use std::io::Read;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, PublicParams, Tag, Timestamp};
use rsa::traits::PublicKeyParts as _;

use crate::SignatureError;

/// Shorter RSA keys are refused.
const RSA_BITS: usize = 2048;

/// A key that may have made a signature.
pub(super) struct Signer<'a> {
    certificate: &'a SignedPublicKey,
    key: Key<'a>,
}

/// Which key of a certificate.
enum Key<'a> {
    Primary,
    Subkey {
        subkey: &'a SignedPublicSubKey,
        /// What makes it part of the certificate.
        binding: &'a Signature,
    },
}

impl<'a> Signer<'a> {
    /// The keys of a certificate that a signature names and that may sign.
    pub(super) fn candidates(certificate: &'a SignedPublicKey, signature: &Signature) -> Vec<Self> {
        let mut candidates = Vec::new();
        let is_good = self_signature(certificate).is_some_and(may_sign);
        if is_good && names(signature, &certificate.primary_key) {
            candidates.push(Self {
                certificate,
                key: Key::Primary,
            });
        }
        for subkey in &certificate.public_subkeys {
            if names(signature, &subkey.key)
                && let Some(binding) = binding(certificate, subkey)
            {
                candidates.push(Self {
                    certificate,
                    key: Key::Subkey { subkey, binding },
                });
            }
        }
        candidates
    }

    /// Checks that it made `signature` of `signed`, and was good at a time.
    pub(super) fn check(
        &self,
        signed: impl Read,
        signature: &Signature,
        issuer: &str,
        at: Timestamp,
    ) -> Result<(), SignatureError> {
        let verified = match &self.key {
            Key::Primary => signature.verify(&self.certificate.primary_key, signed),
            Key::Subkey { subkey, .. } => signature.verify(&subkey.key, signed),
        };
        verified.map_err(|_| SignatureError::Wrong {
            issuer: issuer.to_owned(),
        })?;
        self.check_revocation(at)?;
        let expired = |what| SignatureError::Expired {
            issuer: issuer.to_owned(),
            what,
        };
        let lifetime = signature.signature_expiration_time();
        let lifetime = lifetime.map_or(0, |time| time.as_secs());
        if signature
            .created()
            .is_some_and(|made| is_over(made, lifetime, at))
        {
            return Err(expired("signature"));
        }
        if self.has_expired(at) {
            return Err(expired("key"));
        }
        self.check_strength()
    }

    fn has_expired(&self, at: Timestamp) -> bool {
        let primary = &self.certificate.primary_key;
        let lifetime = self_signature(self.certificate).map_or(0, lifetime);
        let of_primary = is_over(primary.created_at(), lifetime, at);
        match &self.key {
            Key::Primary => of_primary,
            Key::Subkey {
                subkey,
                binding: by,
            } => of_primary || is_over(subkey.key.created_at(), self::lifetime(by), at),
        }
    }

    fn check_revocation(&self, at: Timestamp) -> Result<(), SignatureError> {
        let primary = &self.certificate.primary_key;
        let of_certificate = self.certificate.details.revocation_signatures.iter();
        // Whatever the reason: it is about everything that the certificate has ever signed.
        let revoked = of_certificate
            .filter(|it| it.typ() == Some(SignatureType::KeyRevocation))
            .find(|it| it.verify_key(primary).is_ok());
        let of_subkey = match &self.key {
            Key::Primary => None,
            Key::Subkey { subkey, .. } => subkey
                .signatures
                .iter()
                .filter(|it| it.typ() == Some(SignatureType::SubkeyRevocation))
                .filter(|it| it.verify_subkey_binding(primary, &subkey.key).is_ok())
                .find(|it| !is_for_later(it, at)),
        };
        match revoked.or(of_subkey) {
            None => Ok(()),
            Some(revocation) => {
                let reason = revocation.revocation_reason_string();
                let reason = reason.map(|text| String::from_utf8_lossy(text).into_owned());
                Err(SignatureError::Revoked {
                    reason: reason.unwrap_or_default(),
                })
            }
        }
    }

    fn check_strength(&self) -> Result<(), SignatureError> {
        let primary = self.certificate.primary_key.public_params();
        let mut keys = vec![primary];
        if let Key::Subkey { subkey, .. } = &self.key {
            keys.push(subkey.key.public_params());
        }
        for key in keys {
            if let PublicParams::RSA(rsa) = key
                && rsa.key.n().bits() < RSA_BITS
            {
                let bits = rsa.key.n().bits();
                return Err(SignatureError::ShortKey { bits });
            }
        }
        Ok(())
    }
}

/// Whether a signature says that a key made it.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if !fingerprints.is_empty() {
        return fingerprints.contains(&&key.fingerprint());
    }
    signature.issuer_key_id().contains(&&key.legacy_key_id())
}

/// The newest statement of a certificate about its primary key.
fn self_signature(certificate: &SignedPublicKey) -> Option<&Signature> {
    let primary = &certificate.primary_key;
    let of_users = certificate.details.users.iter().flat_map(|user| {
        user.signatures
            .iter()
            .filter(|it| it.is_certification() && is_sound(it))
            .filter(|it| it.typ() != Some(SignatureType::CertRevocation))
            .filter(|it| names(it, primary))
            .filter(|it| {
                it.verify_certification(primary, Tag::UserId, &user.id)
                    .is_ok()
            })
    });
    let direct = certificate.details.direct_signatures.iter();
    let direct = direct.filter(|it| is_sound(it) && it.verify_key(primary).is_ok());
    of_users
        .chain(direct)
        .max_by_key(|it| it.created().map(Timestamp::as_secs))
}

/// The newest statement of a certificate that a subkey is part of it, if it may sign and agrees.
fn binding<'a>(
    certificate: &SignedPublicKey,
    subkey: &'a SignedPublicSubKey,
) -> Option<&'a Signature> {
    let primary = &certificate.primary_key;
    let newest = subkey
        .signatures
        .iter()
        .filter(|it| it.typ() == Some(SignatureType::SubkeyBinding) && is_sound(it))
        .filter(|it| it.verify_subkey_binding(primary, &subkey.key).is_ok())
        .max_by_key(|it| it.created().map(Timestamp::as_secs))?;
    let back = newest.embedded_signature()?;
    let agrees = back
        .verify_primary_key_binding(&subkey.key, primary)
        .is_ok();
    (may_sign(newest) && agrees).then_some(newest)
}

/// Whether a statement about a key lets it sign; one that says nothing about uses allows all.
fn may_sign(statement: &Signature) -> bool {
    let Some(config) = statement.config() else {
        return false;
    };
    let mut parts = config.hashed_subpackets();
    !parts.any(|part| matches!(&part.data, SubpacketData::KeyFlags(flags) if !flags.sign()))
}

/// Statements about keys may be as old as SHA-1, which cannot be forged for them after the fact.
fn is_sound(statement: &Signature) -> bool {
    !matches!(
        statement.hash_alg(),
        None | Some(HashAlgorithm::None | HashAlgorithm::Md5 | HashAlgorithm::Ripemd160)
    )
}

/// Whether a subkey was given up, and not lost, after a time.
fn is_for_later(revocation: &Signature, at: Timestamp) -> bool {
    let is_given_up = matches!(
        revocation.revocation_reason_code(),
        Some(RevocationCode::KeyRetired | RevocationCode::KeySuperseded)
    );
    is_given_up
        && revocation
            .created()
            .is_some_and(|made| made.as_secs() > at.as_secs())
}

/// Seconds that a key lives after it was made; 0 for ever.
fn lifetime(statement: &Signature) -> u32 {
    statement
        .key_expiration_time()
        .map_or(0, |time| time.as_secs())
}

fn is_over(begin: Timestamp, lifetime: u32, at: Timestamp) -> bool {
    let end = u64::from(begin.as_secs()) + u64::from(lifetime);
    at.as_secs() < begin.as_secs() || (lifetime != 0 && u64::from(at.as_secs()) > end)
}
