//! The file of certificates that programs in a root filesystem trust, with others added for a while.

mod block;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, Stat};

use super::root::{Root, times_of};
use crate::MemoryFile;
use block::Block;

/// Where distributions have it; the first that is a regular file counts.
const PLACES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Larger files are no bundles.
const LIMIT: u64 = 10 << 20;
/// A step may make its bundle larger.
const LIMIT_AFTERWARDS: u64 = 64 << 20;

/// A bundle that lacks certificates.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Without links.
    pub(crate) path: PathBuf,
    content: Vec<u8>,
    stat: Stat,
    block: Block,
}

/// A bundle with certificates added.
#[derive(Debug)]
pub(crate) struct Extended {
    bundle: Bundle,
    /// As we left it.
    stat: Stat,
}

/// What to do with a bundle that the step has not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Untouched {
    /// Make it what it was.
    PutBack,
    /// Nothing: it is a copy, which goes.
    Leave,
}

/// What a step did to its bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Nothing.
    No,
    /// Something, if only that it has another name now.
    Yes,
}

impl Bundle {
    /// The bundle of a root filesystem, unless it has none or those certificates are in it.
    pub(crate) fn find(root: &Root, certificates: &str) -> io::Result<Option<Bundle>> {
        let regular = |place: &&str| open(root, Path::new(place), OFlags::RDONLY).ok();
        let Some((path, file)) = PLACES.iter().find_map(regular) else {
            return Ok(None);
        };
        let block = Block::new(certificates);
        let stat = rustix::fs::fstat(&file)?;
        let Some(content) = read(file, LIMIT)? else {
            tracing::warn!(bundle = %path.display(), "too large for a bundle of certificates: none is added");
            return Ok(None);
        };
        let bundle = Bundle {
            path,
            content,
            stat,
            block,
        };
        Ok(Some(bundle).filter(|bundle| !bundle.block.is_in(&bundle.content)))
    }

    /// Adds the certificates at the end of the file.
    pub(crate) fn extend(self, root: &Root) -> Result<Extended, (Bundle, io::Error)> {
        let write = || -> io::Result<Stat> {
            let (_, mut file) = open(root, &self.path, OFlags::WRONLY)?;
            file.seek(io::SeekFrom::End(0))?;
            if let Err(error) = file.write_all(self.block.text()) {
                let _ = self.put_back(&file);
                return Err(error);
            }
            Ok(rustix::fs::fstat(&file)?)
        };
        match write() {
            Ok(stat) => Ok(Extended { bundle: self, stat }),
            Err(error) => Err((self, error)),
        }
    }

    /// The same with the certificates, to be mounted over it where it cannot be written.
    pub(crate) fn covering(&self) -> MemoryFile {
        MemoryFile {
            target: self.path.clone(),
            data: [&self.content, self.block.text()].concat(),
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            mode: self.stat.st_mode & 0o7777,
        }
    }

    /// Makes an open file, of which only the end differs, what it was.
    fn put_back(&self, file: &File) -> io::Result<()> {
        file.set_len(self.content.len() as u64)?;
        Ok(rustix::fs::futimens(file, &times_of(&self.stat))?)
    }
}

impl Extended {
    /// Where the bundle is, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.bundle.path
    }

    /// Takes the certificates out again, of this bundle and of any that the step has made.
    ///
    /// Files are changed in place, so that all their names and attributes stay. A program may have given pages of
    /// them to its output (sendfile), and what is still to be read there changes too: an untouched copy is better
    /// left as it is and removed.
    pub(crate) fn restore(&self, root: &Root, untouched: Untouched) -> Touched {
        let mut touched = Touched::Yes;
        let mut done: Vec<PathBuf> = Vec::new();
        for place in [self.path()].into_iter().chain(PLACES.map(Path::new)) {
            let Ok((path, file)) = open(root, place, OFlags::RDONLY) else {
                continue;
            };
            if done.contains(&path) {
                continue;
            }
            match self.clean(root, &path, file, untouched) {
                Ok(Touched::No) => touched = Touched::No,
                Ok(Touched::Yes) => {}
                Err(error) => {
                    tracing::warn!(bundle = %path.display(), %error, "a step's certificates stay in its bundle");
                }
            }
            done.push(path);
        }
        touched
    }

    /// Makes the bundle in `root` what it was before anything was added to it.
    pub(crate) fn put_back(&self, root: &Root) -> io::Result<()> {
        let (_, file) = open(root, self.path(), OFlags::WRONLY)?;
        self.bundle.put_back(&file)
    }

    fn clean(
        &self,
        root: &Root,
        path: &Path,
        file: File,
        untouched: Untouched,
    ) -> io::Result<Touched> {
        let bundle = &self.bundle;
        let stat = rustix::fs::fstat(&file)?;
        let content = read(file, LIMIT_AFTERWARDS)?.ok_or(io::ErrorKind::FileTooLarge)?;
        let cleaned = bundle.block.taken_out(&content);
        if cleaned == content {
            return Ok(Touched::Yes);
        }
        let is_ours = path == bundle.path && cleaned == bundle.content;
        let is_longer = content.starts_with(&bundle.content);
        if is_ours && is_longer && modified(&stat) == modified(&self.stat) {
            let touched = match state(&stat) == state(&self.stat) {
                true => Touched::No,
                false => Touched::Yes,
            };
            if (touched, untouched) != (Touched::No, Untouched::Leave) {
                self.put_back(root)?;
            }
            return Ok(touched);
        }
        let (_, mut file) = open(root, path, OFlags::WRONLY)?;
        file.write_all(&cleaned)?;
        file.set_len(cleaned.len() as u64)?;
        rustix::fs::futimens(file.as_fd(), &times_of(&stat))?;
        Ok(Touched::Yes)
    }
}

fn modified(stat: &Stat) -> (i64, u64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

/// Everything that tells whether somebody did something to a file. The time of its last change would be enough,
/// if clocks were finer.
fn state(stat: &Stat) -> impl PartialEq + use<> {
    let owner = (stat.st_uid, stat.st_gid, stat.st_mode);
    (stat.st_ctime, stat.st_ctime_nsec, stat.st_nlink, owner)
}

/// Opens a regular file, wherever links inside the root filesystem lead; its path then is one without links.
fn open(root: &Root, path: &Path, flags: OFlags) -> io::Result<(PathBuf, File)> {
    let path = root.resolve(path)?;
    // What is no file must not keep us waiting.
    let file = File::from(root.open_at(&path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?);
    match file.metadata()?.is_file() {
        true => Ok((path, file)),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// All of a file, unless it is larger than `limit`.
fn read(file: File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    Ok(Some(content).filter(|content| content.len() as u64 <= limit))
}
