//! `cargo xtask fuzz`: runs fuzz targets, each from the corpus that is kept with it, and keeps what it found.
//!
//! A corpus is an archive, so that a thousand tiny inputs are one file of the repository. It is cut down to inputs that
//! each reach code which no other one reaches before it is written back. A crash fails the command; cargo-fuzz tells
//! where the input is.

use std::fs;
use std::path::Path;

use crate::run::{self, at, check, command, top};

/// How long each target runs.
const SECONDS: u32 = 600;

const USAGE: &str = "usage: cargo xtask fuzz [--seconds=N] [TARGET...]";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if !run::has("cargo-fuzz") {
        return Err(
            "install it with: cargo install cargo-fuzz; it needs a nightly compiler".into(),
        );
    }
    let mut seconds = SECONDS;
    let mut targets = Vec::new();
    for argument in arguments {
        match argument.strip_prefix("--seconds=") {
            Some(number) => seconds = number.parse().map_err(|_| USAGE.to_owned())?,
            None if argument.starts_with('-') => return Err(USAGE.into()),
            None => targets.push(argument.clone()),
        }
    }
    if targets.is_empty() {
        let listed = run::output("cargo +nightly fuzz list")?;
        targets = listed.lines().map(str::to_owned).collect();
    }
    targets.iter().try_for_each(|target| fuzz(target, seconds))
}

fn fuzz(target: &str, seconds: u32) -> Result<(), String> {
    let inputs = top().join("target/fuzz").join(target);
    fs::create_dir_all(&inputs).map_err(|error| at(&inputs, &error))?;
    let corpus = top().join(format!("fuzz/corpora/{target}.tar.gz"));
    if corpus.exists() {
        let mut unpack = command("tar --extract --gzip");
        unpack
            .arg("--file")
            .arg(&corpus)
            .arg("--directory")
            .arg(&inputs);
        check(unpack, "tar")?;
    }
    let mut search = command("cargo +nightly fuzz run");
    search.arg(target).arg(&inputs).arg("--").args([
        &format!("-max_total_time={seconds}"),
        "-print_final_stats=1",
        "-timeout=20",
    ]);
    check(search, target)?;
    let mut cut = command("cargo +nightly fuzz cmin");
    cut.arg(target).arg(&inputs);
    check(cut, target)?;
    keep(&inputs, &corpus)
}

/// Writes the same archive for the same inputs.
fn keep(inputs: &Path, corpus: &Path) -> Result<(), String> {
    let mut pack =
        command("tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX");
    pack.arg("--mtime=@0")
        .arg("--use-compress-program=gzip --no-name -9");
    pack.arg("--file")
        .arg(corpus)
        .arg("--directory")
        .arg(inputs)
        .arg(".");
    check(pack, "tar")
}
