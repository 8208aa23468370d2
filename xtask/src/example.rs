//! `cargo xtask example`: builds examples/hello with `buildctl`, without a
//! daemon and without a registry.

use std::fs;
use std::path::Path;

use crate::run::{self, built, check, top};

pub(crate) fn run() -> Result<(), String> {
    build_client()?;
    build_greeter()?;
    let target = top().join("target/example");
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    let mut build = std::process::Command::new(binary()?);
    build
        .current_dir(top())
        .arg("build")
        .args(["--root".as_ref(), target.join("root").as_os_str()])
        .args(["--frontend", "dockerfile.v0"])
        .args([
            "--local",
            "context=examples/hello",
            "--local",
            "dockerfile=examples/hello",
        ])
        .args(["--output", "type=local,dest=target/example/files"])
        .args(["--output", "type=oci,dest=target/example/hello.tar"]);
    check(build, "buildctl build")?;
    let greeting = Path::new("target/example/files/greeting.txt");
    let text = fs::read_to_string(top().join(greeting)).map_err(|error| error.to_string())?;
    println!(
        "\nFiles:   target/example/files (greeting.txt says: {})",
        text.trim_end()
    );
    println!("Image:   target/example/hello.tar (an OCI archive)");
    Ok(())
}

fn build_client() -> Result<(), String> {
    run::run("cargo build --quiet --release --package kiln-cli")
}

/// The example's one program, static because its image has nothing else.
fn build_greeter() -> Result<(), String> {
    run::run("cc -O2 -static -o examples/hello/greet examples/hello/greet.c")
}

/// Where cargo puts the release binary.
fn binary() -> Result<std::path::PathBuf, String> {
    built("release", "buildctl")
}
