//! Signatures that commits and tags must have.

use kiln_llb::attr;
use kiln_signature::{Expiry, GIT_SIGNATURES, verify_git};

use super::error::GitError;
use super::source::GitObjects;

/// `git.sig.*`: who must have signed a revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitSignature {
    /// Those who are trusted: armored OpenPGP keys, or lines of an `authorized_keys` file.
    pub keys: String,
    /// Whether their keys may have expired since.
    pub expiry: Expiry,
    /// What has to be signed.
    pub tag: SignedTag,
}

/// Which signature of a revision that is an annotated tag counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignedTag {
    /// That of the tag, or that of the commit.
    #[default]
    Preferred,
    /// That of the tag; there must be one.
    Required,
    /// That of the commit.
    Ignored,
}

impl GitSignature {
    /// Attributes that each ask for a signature by being there.
    pub(super) const ATTRIBUTES: [&str; 4] = [
        attr::GIT_SIGNATURE_KEYS,
        attr::GIT_SIGNATURE_REJECT_EXPIRED,
        attr::GIT_SIGNATURE_REQUIRE_TAG,
        attr::GIT_SIGNATURE_IGNORE_TAG,
    ];

    /// Takes in one of [`Self::ATTRIBUTES`].
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), GitError> {
        let is_true = value == "true";
        match name {
            attr::GIT_SIGNATURE_KEYS => value.clone_into(&mut self.keys),
            attr::GIT_SIGNATURE_REJECT_EXPIRED if is_true => self.expiry = Expiry::Now,
            attr::GIT_SIGNATURE_REQUIRE_TAG if is_true => self.set_tag(SignedTag::Required)?,
            attr::GIT_SIGNATURE_IGNORE_TAG if is_true => self.set_tag(SignedTag::Ignored)?,
            _ => {}
        }
        Ok(())
    }

    fn set_tag(&mut self, tag: SignedTag) -> Result<(), GitError> {
        if self.tag != SignedTag::Preferred {
            return Err(GitError::SignedTagContradiction);
        }
        self.tag = tag;
        Ok(())
    }
}

/// Checks that a revision of the repository `url` is signed as its identifier demands.
pub(super) fn check(
    url: &str,
    wanted: &GitSignature,
    objects: &GitObjects,
) -> Result<(), GitError> {
    let verify = |(signed, signature): (Vec<u8>, String), what: &'static str| {
        if signature.is_empty() {
            let what = format!("{what} of {url}");
            return Err(GitError::NotSigned { what });
        }
        let verified = verify_git(&signed, &signature, &wanted.keys, wanted.expiry);
        verified.map_err(|source| GitError::Signature {
            what,
            remote: url.to_owned(),
            source,
        })
    };
    let of_tag = match (&objects.tag, wanted.tag) {
        (None, SignedTag::Required) => {
            let remote = url.to_owned();
            return Err(GitError::NoSignedTag { remote });
        }
        (None, _) | (_, SignedTag::Ignored) => None,
        (Some(tag), _) => Some(verify(split_tag(tag), "tag")),
    };
    match of_tag {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) if wanted.tag == SignedTag::Required => Err(error),
        _ => verify(
            split_commit(&objects.commit, &objects.commit_name),
            "commit",
        ),
    }
}

/// A commit as it was signed, and its signature. The signature is a header of which further lines begin with a space;
/// one for names by the other hash may stand beside it (git's `signature-format` and `hash-function-transition`).
fn split_commit(object: &[u8], name: &str) -> (Vec<u8>, String) {
    let own: &[u8] = match name.len() {
        64 => b"gpgsig-sha256 ",
        _ => b"gpgsig ",
    };
    let mut signed = Vec::with_capacity(object.len());
    let mut signature = Vec::new();
    let mut place = Place::Signed;
    for line in object.split_inclusive(|byte| *byte == b'\n') {
        let is_further = line.first() == Some(&b' ');
        place = match place {
            Place::Message => Place::Message,
            _ if line == b"\n" => Place::Message,
            place if is_further => place,
            _ if line.starts_with(own) => Place::Signature,
            _ if line.starts_with(b"gpgsig") => Place::Dropped,
            _ => Place::Signed,
        };
        match place {
            Place::Signed | Place::Message => signed.extend_from_slice(line),
            Place::Signature if is_further => signature.extend_from_slice(&line[1..]),
            Place::Signature => signature.extend_from_slice(&line[own.len()..]),
            Place::Dropped => {}
        }
    }
    (signed, String::from_utf8_lossy(&signature).into_owned())
}

/// What a line of a commit belongs to.
#[derive(Clone, Copy)]
enum Place {
    Signed,
    Signature,
    /// A signature that is not looked at, nor part of what is signed.
    Dropped,
    Message,
}

/// A tag as it was signed, and its signature: all from the last line that begins one, as for git itself.
fn split_tag(object: &[u8]) -> (Vec<u8>, String) {
    let is_begin = |line: &[u8]| {
        let mut known = GIT_SIGNATURES.iter();
        known.any(|text| line.starts_with(text.as_bytes()))
    };
    let mut at = 0;
    let mut begin = object.len();
    for line in object.split_inclusive(|byte| *byte == b'\n') {
        if is_begin(line) {
            begin = at;
        }
        at += line.len();
    }
    let (signed, signature) = object.split_at(begin);
    let signature = String::from_utf8_lossy(signature).into_owned();
    (signed.to_vec(), signature)
}
