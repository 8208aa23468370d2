//! Signatures made by GnuPG and OpenSSH.

mod openpgp;
mod ssh;

use kiln_signature::SignatureError;

/// Checks what comes of a signature: nothing, or an error that begins so.
fn check(outcome: Result<(), SignatureError>, expected: &str) {
    match (outcome, expected) {
        (Ok(()), "") => {}
        (Ok(()), _) => panic!("expected: {expected}"),
        (Err(error), _) => {
            let text = error.to_string();
            assert!(!expected.is_empty() && text.contains(expected), "{text}");
        }
    }
}
