//! Keys to sign with, made on the spot by GnuPG and OpenSSH.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::run::checked;

/// A keyring of GnuPG. Its agent ends with it.
#[derive(Debug)]
pub struct KeyRing {
    home: TempDir,
}

impl Default for KeyRing {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyRing {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// If there is no place for it.
    pub fn new() -> Self {
        // Its sockets need a short path, and it refuses a directory that others may read.
        let home = tempfile::Builder::new()
            .prefix("gpg")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in("/tmp");
        Self {
            home: home.expect("a directory"),
        }
    }

    /// Where it is, for `GNUPGHOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Makes a key, as `gpg --quick-gen-key` does; `usage` such as `sign`, `expiry` such as `1d` or `never`.
    /// Its fingerprint.
    pub fn generate(&self, algorithm: &str, usage: &str, expiry: &str) -> String {
        self.generate_at(None, algorithm, usage, expiry)
    }

    /// Makes a key at another time, such as `20200101T000000`.
    pub fn generate_at(
        &self,
        time: Option<&str>,
        algorithm: &str,
        usage: &str,
        expiry: &str,
    ) -> String {
        let arguments = ["--yes", "--quick-gen-key", "A U Thor <author@example.com>"];
        let arguments = [&arguments[..], &[algorithm, usage, expiry]].concat();
        let said = self.gpg_at(time, &arguments, b"");
        let created = said
            .lines()
            .filter_map(|line| line.split_once("KEY_CREATED "));
        let fingerprint = created
            .filter_map(|(_, rest)| rest.split(' ').nth(1))
            .next_back();
        fingerprint.expect("a fingerprint").to_owned()
    }

    /// The armored signature of `data` by a key.
    pub fn sign(&self, key: &str, data: &[u8], options: &[&str]) -> String {
        self.sign_at(None, key, data, options)
    }

    /// The same at another time.
    pub fn sign_at(&self, time: Option<&str>, key: &str, data: &[u8], options: &[&str]) -> String {
        let arguments = [options, &["--armor", "-u", key, "--detach-sign"]].concat();
        let said = self.gpg_at(time, &arguments, data);
        let begin = said.find("-----BEGIN").expect("a signature");
        let end = said.rfind("-----END PGP SIGNATURE-----").expect("an end");
        said[begin..end].to_owned() + "-----END PGP SIGNATURE-----\n"
    }

    /// The armored public key.
    pub fn export(&self, key: &str) -> String {
        self.gpg(&["--armor", "--export", key])
    }

    /// Takes a key back.
    pub fn revoke(&self, key: &str) {
        let path = self.home().join(format!("openpgp-revocs.d/{key}.rev"));
        let text = std::fs::read_to_string(path).expect("a revocation");
        // GnuPG puts a colon there so that nobody uses it by accident.
        let text = text.replace(":-----BEGIN", "-----BEGIN");
        self.gpg_at(None, &["--import"], text.as_bytes());
    }

    /// Runs gpg; what it says.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn gpg(&self, arguments: &[&str]) -> String {
        let mut command = self.command();
        let output = checked(command.args(arguments)).expect("gpg");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs gpg at another time, with its status lines in what it says.
    fn gpg_at(&self, time: Option<&str>, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.command();
        command.args(["--status-fd", "1", "--pinentry-mode", "loopback"]);
        if let Some(time) = time {
            command.args(["--faked-system-time", &format!("{time}!")]);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("to be read");
        drop(stdin);
        let output = child.wait_with_output().expect("gpg");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {said}{errors}");
        said
    }

    fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command
            .args(["--batch", "--quiet", "--no-tty", "--passphrase", ""])
            .arg("--homedir")
            .arg(self.home());
        command
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let command = command.arg("--homedir").arg(self.home());
        let _ = checked(command.args(["--kill", "all"]));
    }
}

/// A key of OpenSSH.
#[derive(Debug)]
pub struct SshKey {
    place: TempDir,
}

impl SshKey {
    /// Makes one, as `ssh-keygen -t ALGORITHM -b BITS` does.
    ///
    /// # Panics
    ///
    /// If OpenSSH does not work.
    pub fn new(algorithm: &str, bits: &str) -> Self {
        let key = Self {
            place: tempfile::tempdir().expect("a directory"),
        };
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", "author@example.com"]);
        command.args(["-t", algorithm, "-b", bits, "-f"]);
        checked(command.arg(key.path())).expect("ssh-keygen");
        key
    }

    /// The private key.
    pub fn path(&self) -> PathBuf {
        self.place.path().join("key")
    }

    /// The line of an `authorized_keys` file.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn public(&self) -> String {
        std::fs::read_to_string(self.place.path().join("key.pub")).expect("a key")
    }

    /// The armored signature of `data`, made for `namespace`.
    ///
    /// # Panics
    ///
    /// If OpenSSH does not work.
    pub fn sign(&self, namespace: &str, data: &[u8], options: &[&str]) -> String {
        let file = self.place.path().join("data");
        std::fs::write(&file, data).expect("a file");
        let signature = self.place.path().join("data.sig");
        let _ = std::fs::remove_file(&signature);
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-Y", "sign", "-n", namespace])
            .args(options);
        checked(command.arg("-f").arg(self.path()).arg(&file)).expect("ssh-keygen");
        std::fs::read_to_string(signature).expect("a signature")
    }
}
