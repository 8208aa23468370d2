//! Extended attributes that belong to a file, and not to the machine it lies on.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The largest list and value the kernel has.
const MOST: usize = 64 << 10;

/// Names and values, sorted.
pub type Attributes = Vec<(CString, Vec<u8>)>;

/// Never copied: an overlay would take the last two for its own.
const SKIPPED: [&[u8]; 3] = [b"com.apple.", b"trusted.overlay.", b"user.overlay."];

/// Whether an attribute of this name belongs to its file.
pub fn is_carried(name: &[u8]) -> bool {
    !SKIPPED.iter().any(|prefix| name.starts_with(prefix))
}

/// Names and values of an open file.
///
/// # Errors
/// The kernel does not tell.
pub fn read(file: impl AsFd) -> Result<Attributes, Errno> {
    read_by(
        |names| rustix::fs::flistxattr(&file, names),
        |name, value| rustix::fs::fgetxattr(&file, name, value),
    )
}

/// Names and values of something in an open directory, which may be a link.
///
/// # Errors
/// The kernel does not tell, or it is gone.
pub fn read_at(directory: BorrowedFd<'_>, name: &CStr) -> Result<Attributes, Errno> {
    // No call takes a directory and a name; only the last part of this path could be a link.
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    read_by(
        |names| rustix::fs::llistxattr(path.as_slice(), names),
        |name, value| rustix::fs::lgetxattr(path.as_slice(), name, value),
    )
}

fn read_by(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Attributes, Errno> {
    let mut small = [0_u8; 256];
    let names = match list(&mut small[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut all = vec![0; MOST];
            let length = list(&mut all[..])?;
            all.truncate(length);
            all
        }
        // A file opened by path only has none that could be read.
        Err(Errno::BADF) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let Ok(name) = CString::new(name) else {
            continue;
        };
        if !is_carried(name.as_bytes()) {
            continue;
        }
        let mut value = vec![0; MOST];
        // Listed is not readable, such as trusted.* without privilege.
        if let Ok(length) = get(&name, &mut value[..]) {
            value.truncate(length);
            found.push((name, value));
        }
    }
    found.sort();
    Ok(found)
}

/// Sets them on an open file, as far as file system and privileges go.
pub fn write(file: impl AsFd, attributes: &[(CString, Vec<u8>)]) -> Outcome {
    let mut outcome = Outcome::All;
    for (name, value) in attributes {
        if rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty()).is_err() {
            outcome = Outcome::Part;
        }
    }
    outcome
}

/// How many attributes could be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of them.
    All,
    /// Not all.
    Part,
}
