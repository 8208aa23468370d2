//! What a listing does not tell of an entry, but a copy of it needs.

use std::ffi::CStr;

use rustix::fd::BorrowedFd;
use rustix::fs::Statx;
use rustix::io::Errno;

use super::entry::{Kind, Stamp};
use super::xattr;

/// The rest of an entry's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// User and group.
    pub owner: (u32, u32),
    /// Where a symbolic link leads.
    pub target: Vec<u8>,
    /// Extended attributes.
    pub xattrs: xattr::Attributes,
}

impl Detail {
    /// Of a name in an open directory; for [`scan_with`](super::scan_with).
    ///
    /// # Errors
    /// The kernel does not tell, or it is gone.
    pub fn of(directory: BorrowedFd<'_>, name: &CStr, stat: &Statx) -> Result<Self, Errno> {
        let target = match Stamp::of(stat).kind {
            Kind::Symlink => rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes(),
            _ => Vec::new(),
        };
        Ok(Self {
            owner: (stat.stx_uid, stat.stx_gid),
            target,
            xattrs: xattr::read_at(directory, name)?,
        })
    }
}
