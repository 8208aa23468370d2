//! A cache in an OCI layout directory.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kiln_store::ContentStore;

use crate::build::BuiltCache;
use crate::model::{self, Descriptor, Manifest};

const INDEX: &str = "index.json";
const IMAGE_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// An index is read as a whole.
const INDEX_LIMIT: u64 = 16 << 20;
/// How deep manifests refer to manifests before `reset` gives up.
const DEPTH: usize = 8;

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", path.display())]
pub struct DirectoryError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DirectoryError {
    move |source| DirectoryError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Where a blob is.
pub(crate) fn blob_path(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs").join(digest.replacen(':', "/", 1))
}

/// Writes a cache: blobs that are missing, then the config and the manifest, and last the tag.
pub(crate) fn write(
    directory: &Path,
    tag: &str,
    cache: &BuiltCache,
    content: &ContentStore,
) -> Result<(), DirectoryError> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(at("create", &blobs))?;
    for blob in &cache.blobs {
        let path = blob_path(directory, blob.digest().as_ref());
        if !has(&path, blob.size()) {
            let mut from = content.open(blob.digest()).map_err(|error| {
                at("read from the store what belongs in", &path)(io::Error::other(error))
            })?;
            replace(&path, 0o444, |file| io::copy(&mut from, file).map(|_| ()))?;
        }
    }
    for (descriptor, bytes) in [
        (&cache.config_descriptor, &cache.config),
        (&cache.manifest_descriptor, &cache.manifest),
    ] {
        let path = blob_path(directory, descriptor.digest().as_ref());
        if !has(&path, descriptor.size()) {
            replace(&path, 0o444, |file| file.write_all(bytes))?;
        }
    }
    set_tag(
        directory,
        tag,
        &Descriptor::from(&cache.manifest_descriptor),
    )
}

/// Writes a blob, if it is missing; whether it was.
pub(crate) fn put(
    directory: &Path,
    blob: &Descriptor,
    bytes: &[u8],
) -> Result<bool, DirectoryError> {
    let path = blob_path(directory, &blob.digest);
    if has(&path, blob.size) {
        return Ok(false);
    }
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(at("create", &blobs))?;
    replace(&path, 0o444, |file| file.write_all(bytes))?;
    Ok(true)
}

/// Whether there is an index of tags.
pub(crate) fn is_layout(directory: &Path) -> bool {
    directory.join(INDEX).is_file()
}

/// Whether a blob of this size is there. Blobs come into being complete, under their digest.
pub(crate) fn has(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Makes a tag stand for a manifest; all other entries of the index stay.
pub(crate) fn set_tag(
    directory: &Path,
    tag: &str,
    manifest: &Descriptor,
) -> Result<(), DirectoryError> {
    let _lock = Lock::take(directory)?;
    let path = directory.join(INDEX);
    let mut index = match fs::exists(&path).map_err(at("read", &path))? {
        true => read_index(directory)?,
        false => Manifest {
            schema_version: 2,
            ..Manifest::default()
        },
    };
    if index.media_type.is_empty() {
        index.media_type = model::OCI_INDEX.into();
    }
    let entries = index.manifests.get_or_insert_default();
    entries.retain(|entry| {
        entry.annotation(REF_NAME) != Some(tag) || entry.annotation(IMAGE_NAME).is_some()
    });
    let annotations = [(REF_NAME.to_owned(), tag.to_owned())].into();
    entries.push(Descriptor {
        annotations: Some(annotations),
        ..manifest.clone()
    });
    let bytes = model::encode(&index).map_err(|error| at("write", &path)(error.into()))?;
    replace(&directory.join("oci-layout"), 0o644, |file| {
        file.write_all(LAYOUT)
    })?;
    replace(&path, 0o644, |file| file.write_all(&bytes))
}

/// The manifest that a tag, or an image name, stands for.
pub(crate) fn find_tag(directory: &Path, tag: &str) -> Result<Option<Descriptor>, DirectoryError> {
    let entries = read_index(directory)?.manifests.unwrap_or_default();
    let by = |key| {
        entries
            .iter()
            .find(|entry| entry.annotation(key) == Some(tag))
    };
    Ok(by(IMAGE_NAME).or_else(|| by(REF_NAME)).cloned())
}

fn read_index(directory: &Path) -> Result<Manifest, DirectoryError> {
    let path = directory.join(INDEX);
    let bytes = read_bounded(&path, INDEX_LIMIT)?;
    if bytes.is_empty() {
        return Ok(Manifest {
            schema_version: 2,
            ..Manifest::default()
        });
    }
    serde_json::from_slice(&bytes).map_err(|error| at("understand", &path)(error.into()))
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, DirectoryError> {
    let failed = at("read", path);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(&failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::other(format!(
            "it is larger than {limit} bytes"
        ))));
    }
    Ok(bytes)
}

/// Removes the blobs that nothing in the index leads to.
pub(crate) fn reset(directory: &Path) -> Result<(), DirectoryError> {
    let _lock = Lock::take(directory)?;
    let mut used = HashSet::new();
    for entry in read_index(directory)?.manifests.unwrap_or_default() {
        collect(directory, &entry, DEPTH, &mut used)?;
    }
    let blobs = directory.join("blobs/sha256");
    for entry in fs::read_dir(&blobs).map_err(at("read", &blobs))? {
        let entry = entry.map_err(at("read", &blobs))?;
        let name = entry.file_name();
        if !used.contains(&format!("sha256:{}", name.to_string_lossy())) {
            fs::remove_file(entry.path()).map_err(at("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// Notes a blob and, if it is a manifest, all that it leads to.
fn collect(
    directory: &Path,
    descriptor: &Descriptor,
    depth: usize,
    used: &mut HashSet<String>,
) -> Result<(), DirectoryError> {
    let is_manifest =
        descriptor.media_type.contains("manifest") || descriptor.media_type.contains("index");
    if !used.insert(descriptor.digest.clone()) || !is_manifest || depth == 0 {
        return Ok(());
    }
    let path = blob_path(directory, &descriptor.digest);
    let bytes = read_bounded(&path, INDEX_LIMIT)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| at("understand", &path)(error.into()))?;
    let children = manifest
        .config
        .into_iter()
        .chain(manifest.layers.unwrap_or_default());
    for child in children.chain(manifest.manifests.unwrap_or_default()) {
        collect(directory, &child, depth - 1, used)?;
    }
    Ok(())
}

/// Writes a file under another name and moves it into place.
fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), DirectoryError> {
    let temporary = path.with_file_name(format!(
        ".kiln-{:016x}",
        RandomState::new().build_hasher().finish()
    ));
    let outcome = File::create_new(&temporary)
        .and_then(|mut file| {
            write(&mut file)?;
            file.set_permissions(Permissions::from_mode(mode))
        })
        .and_then(|()| fs::rename(&temporary, path));
    if outcome.is_err() {
        fs::remove_file(&temporary).ok();
    }
    outcome.map_err(at("write", path))
}

/// Held while a directory's index is changed, by us or by others that know the lock file.
struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    fn take(directory: &Path) -> Result<Self, DirectoryError> {
        let path = directory.join(format!("{INDEX}.lock"));
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(at("lock", &path))?;
            file.lock().map_err(at("lock", &path))?;
            // Whoever held the lock before has removed the file: then what we locked is not what others will lock.
            let ours = file.metadata().map_err(at("lock", &path))?;
            if fs::metadata(&path)
                .is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
            {
                return Ok(Self { _file: file, path });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}
