//! A real containerd, Debian's, on a socket in a directory of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::run::{checked, wait_for_line};

/// A running containerd with its state in a directory of its own; stopped on drop.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    dir: TempDir,
}

impl Containerd {
    /// Starts one that is ready.
    pub fn start() -> io::Result<Containerd> {
        let dir = tempfile::Builder::new()
            .prefix("kiln-containerd-")
            .tempdir()?;
        let config = dir.path().join("config.toml");
        let shown = dir.path().display();
        let text = format!(
            "version = 2\nroot = \"{shown}/root\"\nstate = \"{shown}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{shown}/c.sock\"\n[ttrpc]\naddress = \"{shown}/t.sock\"\n"
        );
        fs::write(&config, text)?;
        let mut child = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot run containerd: {error}; install containerd and runc"),
                )
            })?;
        match wait_for_line(&mut child, "containerd successfully booted") {
            Ok(()) => Ok(Containerd { child, dir }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("c.sock")
    }

    /// Runs `ctr` in the namespace `buildkit`; answers its output.
    pub fn ctr(&self, arguments: &[&str]) -> io::Result<String> {
        let output = checked(
            Command::new("ctr")
                .arg("--address")
                .arg(self.socket())
                .arg("--namespace=buildkit")
                .args(arguments)
                .stdin(Stdio::null()),
        )?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends it, as if it had crashed; its socket stays.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Where its state is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
