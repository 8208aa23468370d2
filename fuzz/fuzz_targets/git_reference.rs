//! Any text as a git URL: no panic, and what is read has no piece that would leave the repository's name.
#![no_main]

use kiln_llb::git_url::{GitRef, GitUrl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(url) = GitUrl::parse(text) {
        assert!(text.contains(&url.scheme) || url.scheme == "ssh");
    }
    if let Err(error) = GitRef::parse(text) {
        assert!(!error.to_string().is_empty());
    }
});
