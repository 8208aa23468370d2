//! A real registry, Debian's docker-registry, on a free loopback port.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::image::{Blob, Image};
use crate::run::checked;

/// How the registry is protected.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// User and password of HTTP basic authentication.
    pub basic: Option<(String, String)>,
    /// Whether it speaks HTTPS.
    pub transport: Transport,
}

/// What a registry speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTPS with a certificate of its own for `localhost` and `127.0.0.1`; see [`Registry::ca`].
    Https,
}

/// A running registry with a storage directory of its own; stopped on drop.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: TempDir,
    port: u16,
    protection: Protection,
}

impl Registry {
    /// Starts an open registry on plain HTTP.
    pub fn start() -> io::Result<Registry> {
        Registry::start_protected(Protection::default())
    }

    /// Starts a registry with the given protection.
    pub fn start_protected(protection: Protection) -> io::Result<Registry> {
        let dir = tempfile::Builder::new()
            .prefix("kiln-registry-")
            .tempdir()?;
        let config = dir.path().join("config.yml");
        fs::write(&config, configuration(dir.path(), &protection)?)?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot run docker-registry: {error}; install docker-registry"),
                )
            })?;
        match wait_for_port(&mut child) {
            Ok(port) => Ok(Registry {
                child,
                dir,
                port,
                protection,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// `127.0.0.1:port`, the first part of image names.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://…` or `https://…`.
    pub fn url(&self) -> String {
        match self.protection.transport {
            Transport::Http => format!("http://{}", self.host()),
            Transport::Https => format!("https://{}", self.host()),
        }
    }

    /// The certificate to trust, in PEM; only with HTTPS.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// Where the registry keeps its blobs, for tests that damage them.
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    /// Copies what is tagged `tag` in the OCI layout `layout`, with all its platforms, to `name` (`repo:tag`).
    pub fn push_layout(&self, layout: impl AsRef<Path>, tag: &str, name: &str) -> io::Result<()> {
        let mut command = Command::new("skopeo");
        command.args([
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ]);
        if let Some((user, password)) = &self.protection.basic {
            command
                .arg("--dest-creds")
                .arg(format!("{user}:{password}"));
        }
        command
            .arg(format!("oci:{}:{tag}", layout.as_ref().display()))
            .arg(format!("docker://{}/{name}", self.host()));
        checked(&mut command).map(drop)
    }

    /// Puts a blob into a repository, by curl.
    ///
    /// # Panics
    ///
    /// If the registry does not take it.
    pub fn push_blob(&self, repository: &str, content: &[u8]) -> Blob {
        let dir = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        let blob = crate::image::write_blob(dir.path(), content).expect("a blob");
        let uploads = format!("{}/v2/{repository}/blobs/uploads/", self.url());
        let begun = curl(&["-X", "POST", "-D", "-", &uploads]);
        let place = begun
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        let place = place.expect("a place for the blob").trim();
        let separator = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{separator}digest={}", blob.digest);
        let file = dir.path().join("blobs").join(blob.digest.replace(':', "/"));
        curl(&["-T", &file.display().to_string(), &place]);
        blob
    }

    /// Puts a manifest or index into a repository under a tag or its digest, by curl.
    ///
    /// # Panics
    ///
    /// If the registry does not take it.
    pub fn push_manifest(&self, repository: &str, name: &str, media_type: &str, content: &str) {
        let file = self.dir.path().join("manifest");
        fs::write(&file, content).expect("a file");
        let url = format!("{}/v2/{repository}/manifests/{name}", self.url());
        let kind = format!("Content-Type: {media_type}");
        curl(&["-T", &file.display().to_string(), "-H", &kind, &url]);
    }

    /// Pushes `image` as `name` (`repo:tag`); returns its manifest.
    pub fn push_image(&self, image: &Image, name: &str) -> io::Result<Blob> {
        let layout = tempfile::tempdir_in(self.dir.path())?;
        let manifest = image.write(layout.path(), "image")?;
        self.push_layout(layout.path(), "image", name)?;
        Ok(manifest)
    }

    /// Pushes an image of one gzip layer, the tree `rootfs`, as `name` (`repo:tag`); returns its manifest.
    pub fn push_rootfs(&self, rootfs: impl Into<PathBuf>, name: &str) -> io::Result<Blob> {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        self.push_image(
            &Image::new()
                .layer(rootfs)
                .config("Env", serde_json::json!([path])),
            name,
        )
    }
}

fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    let output = checked(command.args(["-fsS"]).args(arguments)).expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(dir: &Path, protection: &Protection) -> io::Result<String> {
    let shown = dir.display();
    let mut text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {shown}/storage\n  delete:\n    enabled: true\nvalidation:\n  manifests:\n    urls:\n      allow: ['^https://files\\.example/']\nhttp:\n  addr: 127.0.0.1:0\n"
    );
    if protection.transport == Transport::Https {
        checked(
            Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ])
                .args([
                    "-nodes",
                    "-days",
                    "30",
                    "-subj",
                    "/CN=localhost",
                    "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout",
                    &format!("{shown}/key.pem"),
                    "-out",
                    &format!("{shown}/cert.pem"),
                ]),
        )?;
        text += &format!("  tls:\n    certificate: {shown}/cert.pem\n    key: {shown}/key.pem\n");
    }
    if let Some((user, password)) = &protection.basic {
        let entry = checked(Command::new("htpasswd").args(["-Bbn", user, password]))?.stdout;
        fs::write(dir.join("htpasswd"), entry)?;
        text += &format!("auth:\n  htpasswd:\n    realm: kiln\n    path: {shown}/htpasswd\n");
    }
    Ok(text)
}

/// Reads the port that the kernel chose from the registry's log, and keeps reading so that it never blocks.
fn wait_for_port(child: &mut Child) -> io::Result<u16> {
    let mut lines = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
    let mut seen = String::new();
    for line in lines.by_ref() {
        let line = line?;
        let port = line
            .split_once("listening on 127.0.0.1:")
            .map(|(_, rest)| {
                rest.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
            })
            .and_then(|digits| digits.parse().ok());
        if let Some(port) = port {
            thread::spawn(move || lines.for_each(drop));
            return Ok(port);
        }
        seen += &line;
        seen.push('\n');
    }
    Err(io::Error::other(format!(
        "docker-registry ended before it listened: {seen}"
    )))
}
