//! `cargo xtask ci`: what must hold for every change.

use crate::run::{self, check, command, has};
use crate::{licenses, tidy};

pub(crate) fn run() -> Result<(), String> {
    run_step("cargo fmt --all --check")?;
    tidy::run()?;
    licenses::run()?;
    run_step("cargo clippy --quiet --workspace --all-targets -- -D warnings")?;
    tests()?;
    docs()
}

fn run_step(line: &str) -> Result<(), String> {
    run::run(line)
        .map_err(|error| format!("{error}\n(each step can be run alone, as printed above)"))
}

/// End-to-end tests run the real binaries of all packages. Each of these packages has tests of its own, for which cargo
/// builds the binaries.
fn tests() -> Result<(), String> {
    if has("cargo-nextest") {
        run::run("cargo nextest run --workspace --no-fail-fast")
    } else {
        run::run("cargo test --workspace --no-fail-fast")
    }
}

fn docs() -> Result<(), String> {
    let line = "cargo doc --quiet --workspace --no-deps";
    println!("+ {line}");
    let mut docs = command(line);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    check(docs, line)
}
