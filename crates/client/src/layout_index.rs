//! `index.json` of an OCI layout directory on the client's side: what its
//! tags stand for.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::ClientError;

const INDEX: &str = "index.json";
const IMAGE_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Indexes and manifests are read as a whole.
const LIMIT: u64 = 16 << 20;

/// How deep manifests refer to manifests.
const DEPTH: usize = 8;

/// A directory in the form of an OCI layout.
#[derive(Debug, Clone)]
pub(crate) struct Layout(PathBuf);

/// What an entry of the index is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// A tag.
    Tag(String),
    /// An image's whole name.
    Image(String),
}

impl Layout {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Whether a blob is there.
    pub(crate) fn has(&self, digest: &str) -> bool {
        self.blob(digest).is_some_and(|path| path.is_file())
    }

    /// Nothing for digests that would lead elsewhere.
    fn blob(&self, digest: &str) -> Option<PathBuf> {
        let (algorithm, hash) = digest.split_once(':')?;
        let is_plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
        let safe = is_plain(algorithm) && is_plain(hash);
        safe.then(|| self.0.join("blobs").join(algorithm).join(hash))
    }

    /// The digest that a tag, or an image name, stands for.
    pub(crate) fn find(&self, tag: &str) -> Result<Option<String>, ClientError> {
        let index = self.read(&self.0.join(INDEX))?;
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let by = |key: &str| {
            let mut entries = entries.iter();
            entries.find(|entry| entry["annotations"][key] == tag)
        };
        let found = by(IMAGE_NAME).or_else(|| by(REF_NAME));
        Ok(found
            .and_then(|entry| entry["digest"].as_str())
            .map(str::to_owned))
    }

    /// Makes names stand for a descriptor; entries of other names stay.
    pub(crate) fn put(&self, descriptor: &Value, names: &[Name]) -> Result<(), ClientError> {
        let _lock = Lock::take(&self.0)?;
        let path = self.0.join(INDEX);
        let mut index = match path.exists() {
            true => self.read(&path)?,
            false => json!({"schemaVersion": 2, "mediaType": INDEX_TYPE}),
        };
        let entries = index["manifests"].take();
        let mut entries = entries.as_array().cloned().unwrap_or_default();
        for name in names {
            let entry = named(descriptor, name);
            let identity = |entry: &Value| {
                let annotations = &entry["annotations"];
                (
                    annotations[REF_NAME].clone(),
                    annotations[IMAGE_NAME].clone(),
                )
            };
            entries.retain(|old| identity(old) != identity(&entry));
            entries.push(entry);
        }
        index["manifests"] = entries.into();
        replace(&self.0.join("oci-layout"), LAYOUT)?;
        replace(&path, index.to_string().as_bytes())
    }

    /// Removes the blobs that nothing in the index leads to.
    pub(crate) fn remove_unused(&self) -> Result<(), ClientError> {
        let _lock = Lock::take(&self.0)?;
        let mut used = HashSet::new();
        self.collect(&self.read(&self.0.join(INDEX))?, DEPTH, &mut used)?;
        let blobs = self.0.join("blobs/sha256");
        for entry in fs::read_dir(&blobs).map_err(at(&blobs))? {
            let entry = entry.map_err(at(&blobs))?;
            let digest = format!("sha256:{}", entry.file_name().to_string_lossy());
            if !used.contains(&digest) {
                fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// Notes everything that a manifest or an index leads to.
    fn collect(
        &self,
        manifest: &Value,
        depth: usize,
        used: &mut HashSet<String>,
    ) -> Result<(), ClientError> {
        let lists = ["manifests", "layers"].map(|key| manifest[key].as_array());
        let children = lists.into_iter().flatten().flatten();
        for child in children.chain([&manifest["config"]]) {
            let Some(digest) = child["digest"].as_str() else {
                continue;
            };
            let kind = child["mediaType"].as_str().unwrap_or_default();
            let is_manifest = kind.contains("manifest") || kind.contains("index");
            let is_new = used.insert(digest.to_owned());
            if let Some(path) = self.blob(digest)
                && is_new
                && is_manifest
                && depth > 0
            {
                self.collect(&self.read(&path)?, depth - 1, used)?;
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Value, ClientError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes));
        read.map_err(at(path))?;
        if bytes.len() as u64 > LIMIT {
            let error = io::Error::other(format!("it is larger than {LIMIT} bytes"));
            return Err(at(path)(error));
        }
        serde_json::from_slice(&bytes).map_err(|error| at(path)(error.into()))
    }
}

fn named(descriptor: &Value, name: &Name) -> Value {
    let mut entry = descriptor.as_object().cloned().unwrap_or_default();
    let annotations = entry.get("annotations").and_then(Value::as_object);
    let mut annotations: Map<String, Value> = annotations.cloned().unwrap_or_default();
    let reference = match name {
        Name::Tag(tag) => tag.clone(),
        Name::Image(image) => {
            annotations.insert(IMAGE_NAME.into(), image.as_str().into());
            tag_of(image)
        }
    };
    annotations.insert(REF_NAME.into(), reference.into());
    entry.insert("annotations".into(), annotations.into());
    entry.into()
}

/// The tag, digest or both of an image's name.
fn tag_of(image: &str) -> String {
    let path = image.rfind('/').map_or(0, |slash| slash + 1);
    let last = &image[path..];
    match last.find([':', '@']) {
        Some(start) if last[start..].starts_with(':') => last[start + 1..].to_owned(),
        Some(start) => last[start..].to_owned(),
        None => String::new(),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> ClientError {
    let path = path.to_path_buf();
    move |source| ClientError::File {
        path: path.clone(),
        source,
    }
}

/// Writes a file beside its place and moves it there.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    let moved = written.and_then(|()| fs::rename(&temporary, path));
    if moved.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    moved.map_err(at(path))
}

/// Held while an index is changed, by us or by others that know the lock file.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(directory: &Path) -> Result<Self, ClientError> {
        let path = directory.join(format!("{INDEX}.lock"));
        loop {
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            let file = options.open(&path).map_err(at(&path))?;
            file.lock().map_err(at(&path))?;
            // Whoever held it before has removed the file: then others will
            // lock another one.
            let ours = file.metadata().map_err(at(&path))?;
            let is_same = |now: fs::Metadata| (now.dev(), now.ino()) == (ours.dev(), ours.ino());
            if fs::metadata(&path).is_ok_and(is_same) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
