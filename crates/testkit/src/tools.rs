//! Programs newer than this Debian's, which `cargo xtask setup` unpacks.

use std::path::{Path, PathBuf};

/// Where the unpacked packages' files are.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/tools")
}

/// The program at this path below the packages' root, such as `usr/bin/docker`.
///
/// # Panics
///
/// If it is missing, with what to do about it.
pub fn program(path: &str) -> PathBuf {
    let program = tools().join(path);
    assert!(
        program.is_file(),
        "{} is missing; run cargo xtask setup",
        program.display()
    );
    program
}

/// Docker's client for builds.
pub fn buildx() -> PathBuf {
    program("usr/libexec/docker/cli-plugins/docker-buildx")
}
