//! Extended attributes.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

/// The extended attributes that travel: not those in which overlayfs keeps its own affairs.
pub(crate) fn read(fd: BorrowedFd<'_>) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut list = vec![0_u8; 256];
    let length = loop {
        match flistxattr(fd, &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::OPNOTSUPP | Errno::PERM) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    };
    let mut xattrs = Vec::new();
    for name in list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let name = CString::new(name).map_err(io::Error::from)?;
        if let Ok(value) = value(fd, &name) {
            xattrs.push((name, value));
        }
    }
    Ok(xattrs)
}

/// The value of one extended attribute.
fn value(fd: BorrowedFd<'_>, name: &CString) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0_u8; 512];
    loop {
        match fgetxattr(fd, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(Errno::RANGE) => value.resize(value.len() * 8, 0),
            Err(error) => return Err(error),
        }
    }
}
