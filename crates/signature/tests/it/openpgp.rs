//! Signatures made by GnuPG.

use std::io::Cursor;

use kiln_signature::{Expiry, SignatureError, verify_git, verify_openpgp};
use kiln_testkit::keys::KeyRing;
use proptest::prelude::*;
use rstest::rstest;

use crate::check;

/// A time at which the keys of some tests were good.
const LONG_AGO: Option<&str> = Some("20200101T000000");

fn verify(signed: &[u8], signature: &str, keys: &str) -> Result<(), SignatureError> {
    verify_openpgp(&mut Cursor::new(signed), signature, keys, Expiry::AtSigning)
}

#[rstest]
#[case("ed25519", "")]
#[case("nistp256", "")]
#[case("nistp384", "")]
#[case("nistp521", "")]
#[case("rsa2048", "")]
#[case("rsa1024", "RSA key too short: 1024 bits")]
#[case("dsa2048", "rejecting unsupported pubkey algorithm: DSA")]
fn algorithms(#[case] algorithm: &str, #[case] expected: &str) {
    let ring = KeyRing::new();
    let key = ring.generate(algorithm, "sign", "never");
    let signature = ring.sign(&key, b"text", &[]);
    check(verify(b"text", &signature, &ring.export(&key)), expected);
}

#[rstest]
#[case(&["--digest-algo", "SHA256"], "")]
#[case(&["--digest-algo", "SHA384"], "")]
#[case(&["--digest-algo", "SHA512"], "")]
#[case(&["--textmode"], "")]
#[case(&["--digest-algo", "SHA1"], "rejecting weak/unknown hash: SHA1")]
#[case(&["--digest-algo", "SHA224"], "rejecting weak/unknown hash: SHA224")]
fn hashes(#[case] options: &[&str], #[case] expected: &str) {
    let ring = KeyRing::new();
    let key = ring.generate("rsa2048", "sign", "never");
    let signature = ring.sign(&key, b"a\nb\n", options);
    check(verify(b"a\nb\n", &signature, &ring.export(&key)), expected);
}

#[test]
fn only_what_was_signed_by_a_known_key_is_believed() {
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "sign", "never");
    let other = ring.generate("ed25519", "sign", "never");
    let signature = ring.sign(&key, b"text", &[]);
    let (keys, others) = (ring.export(&key), ring.export(&other));
    let id = &key[key.len() - 16..];

    check(
        verify(b"text", &signature, &format!("{others}\n{keys}")),
        "",
    );
    let test = verify(b"test", &signature, &keys);
    check(
        test,
        &format!("signature by {id}: openpgp: invalid signature"),
    );
    let unknown = verify(b"text", &signature, &others);
    check(
        unknown,
        &format!("signature by {id}: openpgp: signature made by unknown entity"),
    );
}

#[test]
fn subkeys_sign_if_they_may() {
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "cert", "never");
    ring.gpg(&["--quick-add-key", &key, "ed25519", "sign", "never"]);
    ring.gpg(&["--quick-add-key", &key, "cv25519", "encr", "never"]);
    let signature = ring.sign(&key, b"text", &[]);
    check(verify(b"text", &signature, &ring.export(&key)), "");
    let private = ring.gpg(&["--armor", "--export-secret-keys", &key]);
    check(verify(b"text", &signature, &private), "");
}

#[test]
fn revoked_keys_sign_nothing() {
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "sign", "never");
    let signature = ring.sign(&key, b"text", &[]);
    ring.revoke(&key);
    check(
        verify(b"text", &signature, &ring.export(&key)),
        "key revoked",
    );
}

#[test]
fn expired_keys_hold_if_they_were_good_when_they_signed() {
    let ring = KeyRing::new();
    let key = ring.generate_at(LONG_AGO, "ed25519", "sign", "30d");
    let signature = ring.sign_at(Some("20200102T000000"), &key, b"text", &[]);
    let keys = ring.export(&key);
    check(
        verify_git(b"text", &signature, &keys, Expiry::AtSigning),
        "",
    );
    check(
        verify_git(b"text", &signature, &keys, Expiry::Now),
        "key expired",
    );

    let key = ring.generate_at(LONG_AGO, "ed25519", "sign", "never");
    let options = ["--default-sig-expire", "1d"];
    let signature = ring.sign_at(Some("20200102T000000"), &key, b"text", &options);
    let keys = ring.export(&key);
    check(
        verify_git(b"text", &signature, &keys, Expiry::AtSigning),
        "",
    );
    check(
        verify_git(b"text", &signature, &keys, Expiry::Now),
        "signature expired",
    );
}

#[test]
fn signatures_of_tomorrow_are_refused() {
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "sign", "never");
    let signature = ring.sign_at(Some("20900101T000000"), &key, b"text", &[]);
    check(
        verify(b"text", &signature, &ring.export(&key)),
        "signature creation time is in the future",
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "sign", "never");
    let keys = ring.export(&key);
    let signature = ring.sign(&key, b"text", &[]);
    let cut = &signature[..signature.len() / 2];
    for (signature, keys, expected) in [
        ("", keys.as_str(), "failed to decode armored signature"),
        (cut, &keys, "failed to decode armored signature"),
        (&keys, &keys, "failed to decode armored signature"),
        (
            &signature,
            "",
            "failed to read armored public key: no armored data found",
        ),
        (&signature, &signature, "failed to read armored public key"),
        (
            &signature,
            &keys[..keys.len() / 2],
            "failed to read armored public key",
        ),
    ] {
        check(verify(b"text", signature, keys), expected);
    }
}

#[test]
fn damaged_text_is_no_reason_to_panic() {
    let ring = KeyRing::new();
    let key = ring.generate("ed25519", "cert", "never");
    ring.gpg(&["--quick-add-key", &key, "rsa2048", "sign", "never"]);
    let signature = ring.sign(&key, b"text", &[]);
    let keys = ring.export(&key);
    let damaged = |text: &str, at: usize, by: char| {
        let mut text: Vec<char> = text.chars().collect();
        let at = at % text.len();
        text[at] = by;
        text.into_iter().collect::<String>()
    };
    proptest!(ProptestConfig::with_cases(400), |(at: usize, by in "[A-Za-z0-9+/=\n-]")| {
        let by = by.chars().next().unwrap_or('A');
        let _ = verify(b"text", &damaged(&signature, at, by), &keys);
        let _ = verify(b"text", &signature, &damaged(&keys, at, by));
    });
}
