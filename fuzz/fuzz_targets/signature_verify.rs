//! Any text as a signature and as keys: no panic, and an error that says something.
#![no_main]

use kiln_signature::{Expiry, verify_git};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\0');
    let (signature, keys) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let signed = parts.next().unwrap_or_default();
    for expiry in [Expiry::AtSigning, Expiry::Now] {
        if let Err(error) = verify_git(signed.as_bytes(), signature, keys, expiry) {
            assert!(!error.to_string().is_empty());
        }
    }
});
