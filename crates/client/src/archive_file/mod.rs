//! An image archive on this machine that is updated in place.
//!
//! What is new goes behind the end of the archive: blobs, and then the files that name the image. Readers stop at the
//! end, so the archive is what it was until one block changes: the header of the first of the old naming files becomes
//! that of one more blob, which holds all of them and the old end. So there is always one whole image to be read,
//! whenever the update is interrupted.
//!
//! Archives of other forms, and those of which the image uses less than half, are written anew beside the old one,
//! which is replaced in the end.

mod scan;
mod update;
mod used;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_session::{ImageReceiver, LayerNames, SessionError};
use oci_spec::image::Digest;

use crate::ClientError;
use scan::Members;
use update::{Appending, Replacing};

/// An archive that takes the blobs which it lacks. As long as this lives, nobody else adds to what is there.
#[derive(Debug)]
pub struct ArchiveFile {
    path: PathBuf,
    old: Option<Old>,
}

/// An archive that can be added to.
#[derive(Debug)]
struct Old {
    file: Arc<File>,
    members: Members,
    digests: BTreeSet<String>,
}

impl ArchiveFile {
    /// Looks at what is there; that may be nothing.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let path = path.into();
        // What is behind a link is replaced, not the link.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let failed = |source| ClientError::File {
            path: path.clone(),
            source,
        };
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, old: None });
            }
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = "another build is updating this archive; wait for it";
                return Err(failed(io::Error::other(message)));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let old = look(file).map_err(failed)?;
        Ok(Self { path, old })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The archive, if it is worth adding to.
fn look(file: File) -> io::Result<Option<Old>> {
    if !file.metadata()?.is_file() {
        let message = "only files can be updated; leave out update=true";
        return Err(io::Error::other(message));
    }
    let Some(members) = scan::members(&file, 0)? else {
        return Ok(None);
    };
    let used = used::bytes(&file, &members)?;
    if used < members.end / 2 {
        return Ok(None);
    }
    let digests = members.blobs.keys();
    let digests = digests.map(|digest| format!("sha256:{digest}")).collect();
    Ok(Some(Old {
        file: Arc::new(file),
        members,
        digests,
    }))
}

#[async_trait::async_trait]
impl ImageReceiver for ArchiveFile {
    fn layer_names(&self) -> LayerNames {
        LayerNames::Blobs
    }

    async fn has_layer(&self, name: &Digest) -> Result<bool, SessionError> {
        let old = self.old.as_ref();
        Ok(old.is_some_and(|old| old.digests.contains(&name.to_string())))
    }

    fn receive(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match &self.old {
            Some(old) => Box::new(Appending::begin(Arc::clone(&old.file), &old.members)?),
            None => Box::new(Replacing::begin(&self.path)?),
        })
    }
}
