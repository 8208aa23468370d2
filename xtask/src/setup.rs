//! `cargo xtask setup`: installs the real servers and tools that tests run
//! against, where they are missing.

use crate::packages;
use crate::run::{check, command, has};

/// A program that tests use, and the Debian package it comes from.
const PROGRAMS: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("curl", "curl"),
    ("debootstrap", "debootstrap"),
    ("docker-registry", "docker-registry"),
    ("gcc", "gcc"),
    ("gpg", "gpg"),
    ("gpg-agent", "gpg-agent"),
    ("git", "git"),
    ("htpasswd", "apache2-utils"),
    ("make", "make"),
    ("openssl", "openssl"),
    ("python3", "python3-minimal"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("ctr-remote", "stargz-snapshotter"),
    ("skopeo", "skopeo"),
    ("ssh-agent", "openssh-client"),
    ("setcap", "libcap2-bin"),
    ("sshd", "openssh-server"),
    ("umoci", "umoci"),
    ("xz", "xz-utils"),
    ("bzip2", "bzip2"),
    ("zstd", "zstd"),
];

/// Programs that this Debian lacks or has too old; they are unpacked into
/// `target/tools`.
const NEWER: &[&str] = &["docker-buildx", "docker.io", "docker-cli", "containerd"];

pub(crate) fn run() -> Result<(), String> {
    packages::unpacked("tools", NEWER)?;
    let missing = PROGRAMS
        .iter()
        .filter(|(program, _)| !is_installed(program));
    let missing = missing.map(|(_, package)| *package).collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    if !has("apt-get") {
        return Err(format!(
            "the tests need these packages (Debian's names), please install them: {}",
            missing.join(" ")
        ));
    }
    println!("installing {}", missing.join(" "));
    install("apt-get update --quiet --quiet")?;
    install(&format!(
        "apt-get install --quiet --quiet --yes --no-install-recommends {}",
        missing.join(" ")
    ))
}

/// Debian keeps administrators' programs outside of a user's PATH.
fn is_installed(program: &str) -> bool {
    let in_sbin = ["/usr/sbin", "/sbin"]
        .iter()
        .any(|dir| std::path::Path::new(dir).join(program).is_file());
    in_sbin || has(program)
}

fn install(line: &str) -> Result<(), String> {
    let mut command = command(line);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    check(command, line).map_err(|error| format!("{error} (installing packages needs root)"))
}
