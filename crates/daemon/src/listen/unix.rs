//! Sockets in the file system.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::fs::{Gid, Uid};
use tokio::net::UnixListener;

use super::ListenError;
use crate::settings::{Address, SocketOwner};

/// A listening socket; dropping it removes its file.
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// `None` for one that somebody else made.
    file: Option<SocketFile>,
}

/// The file of a socket and the lock that says whose it is.
struct SocketFile {
    path: PathBuf,
    inode: u64,
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.ino() == self.inode);
        if is_ours {
            // Whoever comes next removes it otherwise.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl UnixSocket {
    /// Listens at `path`. A file that a dead daemon left is replaced; a living
    /// daemon is not disturbed.
    pub(super) fn bind(path: &Path, owner: SocketOwner) -> Result<Self, ListenError> {
        let address = Address::Unix(path.to_owned());
        let failed = |action: &str| ListenError::system(&address, action);
        if let Some(directory) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            make_directory(directory, owner).map_err(failed("create its directory"))?;
        }
        let lock = lock(path).map_err(failed("lock"))?;
        let occupied = || ListenError::Occupied {
            path: path.to_owned(),
        };
        let lock = lock.ok_or_else(occupied)?;
        match UnixStream::connect(path) {
            Ok(_) => return Err(occupied()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => remove_stale(path).map_err(failed("replace what is there"))?,
        }
        // Nobody may connect before the owner is set.
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = listener.map_err(failed("bind"))?;
        let metadata = std::fs::symlink_metadata(path).map_err(failed("look it up"))?;
        let file = SocketFile {
            path: path.to_owned(),
            inode: metadata.ino(),
            _lock: lock,
        };
        chown(path, owner).map_err(failed("set its owner"))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o660))
            .map_err(failed("set its permissions"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: Some(file),
        })
    }

    /// A socket that the service manager made and will remove.
    pub(super) fn passed(listener: UnixListener) -> Self {
        let address = listener.local_addr().ok();
        let path = address.and_then(|address| Some(address.as_pathname()?.to_owned()));
        Self {
            listener,
            path: path.unwrap_or_default(),
            file: None,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// The listener, and what to keep as long as it is used.
    pub(crate) fn into_parts(self) -> (UnixListener, impl Sized + Send) {
        (self.listener, self.file)
    }
}

/// Missing directories belong to whom the socket belongs to.
fn make_directory(directory: &Path, owner: SocketOwner) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o770)
        .create(directory)?;
    chown(directory, owner)
}

fn chown(path: &Path, owner: SocketOwner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chown(path, Some(uid), Some(gid)).map_err(io::Error::from)
}

/// Held as long as the daemon lives, so that of two that start at once one is
/// told; `None` if another holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.with_file_name(name))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it exists and is not a socket",
        ));
    }
    std::fs::remove_file(path)
}
