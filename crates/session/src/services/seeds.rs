//! Random numbers by which sessions of one user are known to share a login.
//!
//! They lie beside the Docker configuration in the file that the field's clients use, so
//! that all of a user's clients count as one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::session::fill_random;

const FILE: &str = ".token_seed";
const LOCK: &str = ".token_seed.lock";

/// More than any user has hosts for.
const LONGEST: u64 = 1 << 20;

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    seed: String,
}

/// The seed of a host, made if there is none. A folder that cannot be written to is
/// fine: the seed is good for this process then.
pub(super) fn seed(folder: &Path, host: &str) -> io::Result<Vec<u8>> {
    fs::create_dir_all(folder).or_else(tolerated)?;
    let _lock = lock(&folder.join(LOCK))?;
    let path = folder.join(FILE);
    let mut entries = read(&path)?;
    if let Some(entry) = entries.get(host)
        && let Ok(seed) = STANDARD.decode(&entry.seed)
    {
        return Ok(seed);
    }
    let mut seed = [0; 16];
    fill_random(&mut seed);
    let encoded = STANDARD.encode(seed);
    entries.insert(host.to_owned(), Entry { seed: encoded });
    write(&path, &entries).or_else(tolerated)?;
    Ok(seed.to_vec())
}

/// Held until it is dropped; `None` where locks cannot be.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let options = File::options().create(true).append(true).open(path);
    match options.and_then(|file| file.lock().map(|()| file)) {
        Ok(file) => Ok(Some(file)),
        Err(error) => tolerated(error).map(|()| None),
    }
}

/// What another client wrote badly, or not to its end, counts as nothing.
fn read(path: &Path) -> io::Result<BTreeMap<String, Entry>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
        Ok(_) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => tolerated(error).map(|()| BTreeMap::new()),
    }
}

fn write(path: &PathBuf, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let text = serde_json::to_vec_pretty(entries).map_err(io::Error::other)?;
    let mut options = File::options();
    let options = options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    io::Write::write_all(&mut file, &text)
}

/// A home that is read-only or belongs to others.
fn tolerated(error: io::Error) -> io::Result<()> {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    match error.kind() {
        NotADirectory | PermissionDenied | ReadOnlyFilesystem => Ok(()),
        _ => Err(error),
    }
}
