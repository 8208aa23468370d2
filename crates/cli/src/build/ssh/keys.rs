//! An agent for key files: OpenSSH's own, which knows every kind of key.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;

/// Adds the keys, says so, and keeps the agent alive until its input ends:
/// the agent goes when this script does, and so does not outlive us. Keys
/// are read from standard input, where their permissions do not matter.
const SCRIPT: &str = r#"for key; do ssh-add -q - < "$key" || exit 1; done; echo ready; exec cat"#;

/// An agent that holds keys. Dropping it stops it.
#[derive(Debug)]
pub(super) struct KeyAgent {
    child: Child,
    dir: tempfile::TempDir,
}

impl KeyAgent {
    /// Starts an agent with the keys.
    pub(super) fn start(id: &str, keys: &[PathBuf]) -> Result<Self, Failure> {
        let failed = |reason: String| {
            Failure::usage(format!(
                "--ssh {id}: the keys cannot be used: {reason} \
                 (a key with a passphrase has to be in an agent: use ssh-add and --ssh {id})"
            ))
        };
        let dir = tempfile::Builder::new().prefix("buildctl-ssh-").tempdir();
        let dir = dir.map_err(|error| failed(error.to_string()))?;
        let mut child = Command::new("ssh-agent")
            .arg("-a")
            .arg(dir.path().join("agent"))
            .args(["sh", "-c", SCRIPT, "sh"])
            .args(keys)
            // It must not ask: there may be nobody to answer.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("SSH_ASKPASS", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("ssh-agent: {error}")))?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            let _ = BufReader::new(stdout).read_line(&mut said);
        }
        if said.trim() == "ready" {
            return Ok(Self { child, dir });
        }
        let mut reason = String::new();
        if let Some(stderr) = child.stderr.as_mut() {
            let _ = stderr.take(4096).read_to_string(&mut reason);
        }
        let _ = child.wait();
        Err(failed(reason.trim().replace('\n', "; ")))
    }

    /// The agent's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("agent")
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
