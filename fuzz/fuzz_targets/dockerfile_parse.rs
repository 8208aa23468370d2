//! Any bytes as a Dockerfile: no panic, and every location lies within the text.
#![no_main]

use kiln_dockerfile::lint::{Linter, check_syntax};
use kiln_dockerfile::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match parse(text) {
        Ok(file) => check_syntax(&file, &mut Linter::default()),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if error.location.is_some() {
                assert!(error.excerpt("Dockerfile", text).is_some());
            }
        }
    }
});
