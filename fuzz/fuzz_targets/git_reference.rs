//! Any text as a git URL: no panic, and an error that says something.
#![no_main]

use kiln_llb::git_url::{GitRef, GitUrl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = GitUrl::parse(text) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = GitRef::parse(text) {
        assert!(!error.to_string().is_empty());
    }
});
