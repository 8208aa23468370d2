//! OCI images made from directories by GNU tar, gzip and zstd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::run::checked;

/// How a layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// `gzip -n`.
    Gzip,
    /// `zstd`.
    Zstd,
}

/// An image to be written: layers bottom first, and what its config says beside them.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<(PathBuf, Compression)>,
    config: Map<String, Value>,
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A written blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

impl Default for Image {
    fn default() -> Image {
        Image::new()
    }
}

impl Image {
    /// An image of no layers for linux on this machine's architecture.
    pub fn new() -> Image {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Image {
            layers: Vec::new(),
            config: Map::new(),
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// Adds a gzip layer holding the tree below `dir`.
    #[must_use]
    pub fn layer(self, dir: impl Into<PathBuf>) -> Image {
        self.layer_as(dir, Compression::Gzip)
    }

    /// Adds a layer in the given form.
    #[must_use]
    pub fn layer_as(mut self, dir: impl Into<PathBuf>, compression: Compression) -> Image {
        self.layers.push((dir.into(), compression));
        self
    }

    /// Sets a key of the config's `config` object, such as `Env` or `OnBuild`.
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Image {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// Sets the platform, `os/architecture[/variant]`.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Image {
        let mut parts = platform.splitn(3, '/').map(str::to_owned);
        self.os = parts.next().unwrap_or_default();
        self.architecture = parts.next().unwrap_or_default();
        self.variant = parts.next();
        self
    }

    /// Writes the image into the OCI layout at `dir`, made if missing, under `tag`; returns its manifest.
    pub fn write(&self, dir: impl AsRef<Path>, tag: &str) -> io::Result<Blob> {
        let dir = dir.as_ref();
        let (manifest, _) = self.write_blobs(dir)?;
        add_to_index(
            dir,
            descriptor("application/vnd.oci.image.manifest.v1+json", &manifest),
            tag,
        )?;
        Ok(manifest)
    }

    fn write_blobs(&self, dir: &Path) -> io::Result<(Blob, Value)> {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        let mut history = Vec::new();
        for (tree, compression) in &self.layers {
            let tar = checked(
                Command::new("tar")
                    .args(["--sort=name", "--numeric-owner", "--xattrs", "-C"])
                    .arg(tree)
                    .args(["-cf", "-", "."]),
            )?
            .stdout;
            diff_ids.push(Value::from(digest(&tar)));
            let (media_type, stored) = match compression {
                Compression::None => ("application/vnd.oci.image.layer.v1.tar", tar),
                Compression::Gzip => (
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                    filter(dir, &["gzip", "-nc"], &tar)?,
                ),
                Compression::Zstd => (
                    "application/vnd.oci.image.layer.v1.tar+zstd",
                    filter(dir, &["zstd", "-qc"], &tar)?,
                ),
            };
            layers.push(descriptor(media_type, &write_blob(dir, &stored)?));
            history.push(json!({"created": "2024-01-01T00:00:00Z", "created_by": format!("ADD {} /", tree.display())}));
        }
        let mut platform = json!({"architecture": self.architecture, "os": self.os});
        if let Some(variant) = &self.variant {
            platform["variant"] = Value::from(variant.as_str());
        }
        let mut config = platform.clone();
        config["created"] = Value::from("2024-01-01T00:00:00Z");
        config["config"] = Value::Object(self.config.clone());
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config["history"] = Value::Array(history);
        let config = write_blob(dir, config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        });
        Ok((write_blob(dir, manifest.to_string().as_bytes())?, platform))
    }
}

/// Writes an index over `images`, one per platform, into the OCI layout at `dir` under `tag`.
pub fn write_index(dir: impl AsRef<Path>, tag: &str, images: &[Image]) -> io::Result<Blob> {
    let dir = dir.as_ref();
    let mut manifests = Vec::new();
    for image in images {
        let (manifest, platform) = image.write_blobs(dir)?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["platform"] = platform;
        manifests.push(entry);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    let index = write_blob(dir, index.to_string().as_bytes())?;
    add_to_index(
        dir,
        descriptor("application/vnd.oci.image.index.v1+json", &index),
        tag,
    )?;
    Ok(index)
}

/// Puts `content` into the OCI layout at `dir` as a blob.
pub fn write_blob(dir: impl AsRef<Path>, content: &[u8]) -> io::Result<Blob> {
    let digest = digest(content);
    let blobs = dir.as_ref().join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    fs::write(blobs.join(digest.trim_start_matches("sha256:")), content)?;
    Ok(Blob {
        digest,
        size: content.len() as u64,
    })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

/// How a manifest or index names a blob.
pub fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
}

/// Adds `descriptor` to the layout's index under `tag`, in place of an earlier one of that tag.
fn add_to_index(dir: &Path, mut descriptor: Value, tag: &str) -> io::Result<()> {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let path = dir.join("index.json");
    let mut manifests: Vec<Value> = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Value>(&bytes)?["manifests"]
            .as_array()
            .cloned()
            .unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    manifests.retain(|entry| entry["annotations"] != descriptor["annotations"]);
    manifests.push(descriptor);
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    fs::write(path, json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}).to_string())
}

/// Sends `input` through a filter program, by way of a file: no pipe can fill up.
fn filter(dir: &Path, program: &[&str], input: &[u8]) -> io::Result<Vec<u8>> {
    fs::create_dir_all(dir)?;
    let file = tempfile::NamedTempFile::new_in(dir)?;
    fs::write(file.path(), input)?;
    let (name, arguments) = program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(checked(Command::new(name).args(arguments).stdin(file.reopen()?))?.stdout)
}
