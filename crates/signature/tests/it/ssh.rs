//! Signatures made by OpenSSH.

use kiln_signature::{Expiry, verify_git, verify_ssh};
use kiln_testkit::keys::SshKey;
use rstest::rstest;

use crate::check;

#[rstest]
#[case("ed25519", "256", &[])]
#[case("ecdsa", "256", &[])]
#[case("ecdsa", "384", &[])]
#[case("ecdsa", "521", &[])]
#[case("rsa", "2048", &[])]
#[case("ed25519", "256", &["-O", "hashalg=sha256"])]
fn signatures_hold(#[case] algorithm: &str, #[case] bits: &str, #[case] options: &[&str]) {
    let key = SshKey::new(algorithm, bits);
    let signature = key.sign("git", b"text", options);
    check(verify_ssh(b"text", &signature, &key.public(), "git"), "");
    check(
        verify_git(b"text", &signature, &key.public(), Expiry::Now),
        "",
    );
    let other = verify_ssh(b"test", &signature, &key.public(), "git");
    check(other, "failed to verify ssh signature by SHA256:");
}

#[test]
fn any_of_several_keys_may_sign() {
    let (key, other) = (SshKey::new("ed25519", "256"), SshKey::new("ed25519", "256"));
    let signature = key.sign("git", b"text", &[]);
    let keys = format!("# ours\n\n{}restrict {}", other.public(), key.public());
    check(verify_ssh(b"text", &signature, &keys, "git"), "");
    let unknown = verify_ssh(b"text", &signature, &other.public(), "git");
    check(unknown, "it is none of the given keys");
}

#[test]
fn what_is_no_signature_is_said_to_be_none() {
    let key = SshKey::new("ed25519", "256");
    let keys = key.public();
    let signature = key.sign("git", b"text", &[]);
    let of_file = key.sign("file", b"text", &[]);
    check(
        verify_ssh(b"text", &of_file, &keys, "git"),
        "unexpected SSH signature namespace: \"file\"",
    );
    for (signature, keys, expected) in [
        (
            "-----BEGIN SSH SIGNATURE-----\n",
            keys.as_str(),
            "failed to parse ssh signature",
        ),
        (
            &signature.replace("U1NIU0lH", "AAAAAAAA"),
            &keys,
            "failed to parse ssh signature",
        ),
        (
            &signature,
            "",
            "failed to parse ssh public key: there is none",
        ),
        (
            &signature,
            "ssh-ed25519 AAAA",
            "failed to parse ssh public key",
        ),
    ] {
        check(verify_ssh(b"text", signature, keys, "git"), expected);
    }
    let unknown = verify_git(b"text", "signed, me", &keys, Expiry::Now);
    check(unknown, "invalid signature format");
}
