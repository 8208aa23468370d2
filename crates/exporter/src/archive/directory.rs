//! A layout directory, for `tar=false`.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use kiln_registry::Reference;
use kiln_store::ContentStore;
use kiln_store::place::temporary_name;

use super::{INDEX_FILE, LAYOUT, LAYOUT_FILE, index, tarball};
use crate::cancel::Cancelled;
use crate::files;
use crate::image::Assembled;
use crate::image::model::{Descriptor, Index};
use crate::progress::Step;
use crate::{ExportError, archive};

/// Adds an image's blobs to a directory. Those that are there stay. The index is to be updated afterwards.
pub(crate) fn write_directory(
    content: &ContentStore,
    image: &Assembled,
    directory: &Path,
    cancelled: &Cancelled,
    step: &Step,
) -> Result<(), ExportError> {
    let blobs = archive::blobs(image)?;
    make_directory(&directory.join("blobs/sha256"))?;
    let total = blobs.values().map(|(_, size)| size).sum();
    let mut done = 0;
    for (path, (digest, size)) in blobs {
        cancelled.check().map_err(|_| ExportError::Canceled)?;
        let path = directory.join(path);
        if !fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size) {
            let from = content
                .open(&digest)
                .map_err(|error| ExportError::Store(error.into()))?;
            replace(&path, 0o444, |file| {
                files::copy_data(&from, file, size, cancelled)
            })?;
        }
        done += size;
        step.advance(done, Some(total));
    }
    Ok(())
}

/// Gives an image its names in a directory's index. Readers see the index before or after, never in between; several
/// writers take turns.
pub(crate) fn put_in_index(
    directory: &Path,
    root: &Descriptor,
    names: &[Reference],
) -> Result<(), ExportError> {
    make_directory(directory)?;
    let _lock = Lock::take(directory)?;
    let path = directory.join(INDEX_FILE);
    let mut found = match fs::read(&path) {
        Ok(bytes) if bytes.is_empty() => index::empty(),
        Ok(bytes) => read_index(&path, &bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => index::empty(),
        Err(source) => {
            return Err(ExportError::File {
                action: "read",
                path,
                source,
            });
        }
    };
    index::insert(&mut found, root, names);
    replace(&directory.join(LAYOUT_FILE), 0o644, |file| {
        file.write_all(LAYOUT)
    })?;
    let bytes = tarball::encode(&found)?;
    replace(&path, 0o644, |file| file.write_all(&bytes))
}

fn read_index(path: &Path, bytes: &[u8]) -> Result<Index, ExportError> {
    let mut found: Index = serde_json::from_slice(bytes).map_err(|error| ExportError::File {
        action: "understand",
        path: path.to_owned(),
        source: error.into(),
    })?;
    if found.media_type.is_empty() {
        found.media_type = index::empty().media_type;
    }
    Ok(found)
}

/// Writes a file under another name and moves it into place.
fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let failed = |source| ExportError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let temporary = path.with_file_name(temporary_name());
    let outcome = File::create_new(&temporary)
        .and_then(|mut file| {
            write(&mut file)?;
            file.set_permissions(Permissions::from_mode(mode))
        })
        .and_then(|()| fs::rename(&temporary, path));
    if outcome.is_err() {
        fs::remove_file(&temporary).ok();
    }
    outcome.map_err(failed)
}

fn make_directory(path: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(path).map_err(|source| ExportError::File {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

/// Held while a directory's index is changed, by us or by others that know the lock file.
struct Lock {
    _file: File,
    path: std::path::PathBuf,
}

impl Lock {
    fn take(directory: &Path) -> Result<Self, ExportError> {
        let path = directory.join(format!("{INDEX_FILE}.lock"));
        let failed = |source| ExportError::File {
            action: "lock",
            path: path.clone(),
            source,
        };
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(failed)?;
            file.lock().map_err(failed)?;
            // Whoever held the lock before has removed the file: then what we locked is not what others will lock.
            let ours = file.metadata().map_err(failed)?;
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
