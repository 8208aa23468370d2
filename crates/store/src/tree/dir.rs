//! A directory held open, and operations on its entries by name. No operation here follows a symlink.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    self, AtFlags, FileType, Mode, OFlags, RawDir, RawMode, Timespec, Timestamps, XattrFlags,
};

use super::metadata::{FileKind, Metadata, Owner};
use crate::tar::Timestamp;

/// How deep a tree may be. Every level costs an open file.
pub(super) const MAX_DEPTH: usize = 1000;

/// Attributes that belong to the overlay of a snapshot and never to the file system it shows.
pub(crate) const HIDDEN_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// The name of a directory entry.
pub(crate) type Name = CString;

/// A directory held open.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// The handle itself.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Opens a directory in this one.
    pub(crate) fn open_dir(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Opens a file for reading, without waiting if it is a pipe.
    pub(crate) fn open_file(&self, name: &CStr) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Makes a file that must not exist yet.
    pub(crate) fn create_file(&self, name: &CStr) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// What an entry is.
    pub(crate) fn metadata(&self, name: &CStr) -> io::Result<Metadata> {
        Ok(Metadata::of(&fs::statat(
            &self.0,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?))
    }

    /// The same, with `None` for a missing entry.
    pub(crate) fn find(&self, name: &CStr) -> io::Result<Option<Metadata>> {
        match self.metadata(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    /// What the directory itself is.
    pub(crate) fn own_metadata(&self) -> io::Result<Metadata> {
        Ok(Metadata::of(&fs::fstat(&self.0)?))
    }

    /// Names of all entries in byte order.
    pub(crate) fn names(&self) -> io::Result<Vec<Name>> {
        let mut names: Vec<Name> = self.entries()?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// All entries in no order, with their types where the file system tells them.
    pub(crate) fn entries(&self) -> io::Result<Vec<(Name, FileType)>> {
        fs::seek(&self.0, fs::SeekFrom::Start(0))?;
        let mut entries = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 32 << 10];
        let mut raw = RawDir::new(&self.0, &mut buffer);
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                entries.push((name.to_owned(), entry.file_type()));
            }
        }
        Ok(entries)
    }

    /// Where a symlink points.
    pub(crate) fn read_link(&self, name: &CStr) -> io::Result<CString> {
        Ok(fs::readlinkat(&self.0, name, Vec::new())?)
    }

    /// Makes a directory that only its owner may enter until it gets its attributes.
    pub(crate) fn make_dir(&self, name: &CStr) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, name, Mode::RWXU)?)
    }

    /// Makes a symlink.
    pub(crate) fn make_symlink(&self, target: &CStr, name: &CStr) -> io::Result<()> {
        Ok(fs::symlinkat(target, &self.0, name)?)
    }

    /// Makes a device, pipe or empty file.
    pub(crate) fn make_node(&self, name: &CStr, kind: FileKind, rdev: u64) -> io::Result<()> {
        let kind = match kind {
            FileKind::CharDevice => FileType::CharacterDevice,
            FileKind::BlockDevice => FileType::BlockDevice,
            FileKind::Fifo => FileType::Fifo,
            _ => FileType::RegularFile,
        };
        Ok(fs::mknodat(
            &self.0,
            name,
            kind,
            Mode::RUSR | Mode::WUSR,
            rdev,
        )?)
    }

    /// Gives an entry of another directory a second name here.
    pub(crate) fn make_link(&self, from: &Self, from_name: &CStr, name: &CStr) -> io::Result<()> {
        Ok(fs::linkat(
            &from.0,
            from_name,
            &self.0,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Removes an entry that is no directory.
    pub(crate) fn unlink(&self, name: &CStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes an entry and all below it. A missing entry is no error.
    pub(crate) fn remove_all(&self, name: &CStr) -> io::Result<()> {
        self.remove_below(name, 0)
    }

    fn remove_below(&self, name: &CStr, depth: usize) -> io::Result<()> {
        match self.unlink(name) {
            Ok(()) => return Ok(()),
            Err(error) => match rustix::io::Errno::from_io_error(&error) {
                Some(rustix::io::Errno::NOENT) => return Ok(()),
                Some(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) if depth < MAX_DEPTH => {}
                _ => return Err(error),
            },
        }
        let dir = self.open_dir(name)?;
        for (child, _) in dir.entries()? {
            super::level(|| dir.remove_below(&child, depth + 1))?;
        }
        Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Sets the owner of an entry.
    pub(crate) fn set_owner(&self, name: &CStr, owner: Owner) -> io::Result<()> {
        let (uid, gid) = (crate::owner::uid(owner.uid), crate::owner::gid(owner.gid));
        Ok(fs::chownat(
            &self.0,
            name,
            uid,
            gid,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Sets the permission bits of an entry that the caller knows to be no symlink.
    pub(crate) fn set_mode(&self, name: &CStr, mode: u32) -> io::Result<()> {
        Ok(fs::chmodat(
            &self.0,
            name,
            Mode::from_raw_mode(mode as RawMode),
            AtFlags::empty(),
        )?)
    }

    /// Sets the times of an entry.
    pub(crate) fn set_times(
        &self,
        name: &CStr,
        atime: Timestamp,
        mtime: Timestamp,
    ) -> io::Result<()> {
        let times = timestamps(atime, mtime);
        Ok(fs::utimensat(
            &self.0,
            name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Extended attributes of an entry, without those of the overlay. A file system without any is no error.
    pub(crate) fn xattrs(&self, name: &CStr) -> io::Result<Vec<(CString, Vec<u8>)>> {
        let path = self.magic_path(name);
        list_xattrs(
            |buffer| fs::llistxattr(&path, buffer),
            |key, buffer| fs::lgetxattr(&path, key, buffer),
        )
    }

    /// One extended attribute of an entry.
    pub(crate) fn xattr(&self, name: &CStr, key: &CStr) -> io::Result<Option<Vec<u8>>> {
        let path = self.magic_path(name);
        match read_growing(|buffer| fs::lgetxattr(&path, key, buffer)) {
            Ok(value) => Ok(Some(value)),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets an extended attribute of an entry.
    pub(crate) fn set_xattr(&self, name: &CStr, key: &CStr, value: &[u8]) -> io::Result<()> {
        Ok(fs::lsetxattr(
            self.magic_path(name),
            key,
            value,
            XattrFlags::empty(),
        )?)
    }

    /// A path for the calls that take no directory handle; only its last component could be a symlink.
    fn magic_path(&self, name: &CStr) -> CString {
        let mut path = format!("/proc/self/fd/{}/", self.0.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        CString::new(path).unwrap_or_default()
    }
}

/// Extended attributes of an open file, without those of the overlay.
pub(crate) fn file_xattrs(file: &File) -> io::Result<Vec<(CString, Vec<u8>)>> {
    list_xattrs(
        |buffer| fs::flistxattr(file, buffer),
        |key, buffer| fs::fgetxattr(file, key, buffer),
    )
}

pub(super) fn timestamps(atime: Timestamp, mtime: Timestamp) -> Timestamps {
    let spec = |time: Timestamp| Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanos.into(),
    };
    Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    }
}

fn list_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let names = match read_growing(list) {
        Ok(names) => names,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for key in names.split(|&byte| byte == 0).filter(|key| !key.is_empty()) {
        let hidden = HIDDEN_XATTRS.iter().any(|prefix| key.starts_with(prefix));
        let Ok(key) = CString::new(key) else { continue };
        // An attribute that cannot be read does not count: it may be gone already, or not for us to see.
        if !hidden && let Ok(value) = read_growing(|buffer| get(&key, buffer)) {
            attributes.push((key, value));
        }
    }
    Ok(attributes)
}

fn read_growing(
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; 256];
    match read(&mut small) {
        Err(rustix::io::Errno::RANGE) => {}
        result => return result.map(|length| small[..length].to_vec()),
    }
    // 64 KiB is the kernel's bound for values and for lists.
    let mut buffer = vec![0; 64 << 10];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}
