//! Extended attributes that belong to a file, and not to the machine it lies on.

use std::ffi::CString;

use rustix::fd::AsFd;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The largest list and value the kernel has.
const MOST: usize = 64 << 10;

/// Never copied: an overlay would take the last two for its own.
const SKIPPED: [&[u8]; 3] = [b"com.apple.", b"trusted.overlay.", b"user.overlay."];

/// Names and values of an open file.
pub(super) fn read(file: impl AsFd) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut small = [0_u8; 256];
    let names = match rustix::fs::flistxattr(&file, &mut small[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut all = vec![0; MOST];
            let length = rustix::fs::flistxattr(&file, &mut all[..])?;
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
        if SKIPPED
            .iter()
            .any(|prefix| name.as_bytes().starts_with(prefix))
        {
            continue;
        }
        let mut value = vec![0; MOST];
        // Listed is not readable, such as trusted.* without privilege.
        if let Ok(length) = rustix::fs::fgetxattr(&file, &name, &mut value[..]) {
            value.truncate(length);
            found.push((name, value));
        }
    }
    found.sort();
    Ok(found)
}

/// Sets them on an open file, as far as file system and privileges go.
pub(super) fn write(file: impl AsFd, attributes: &[(CString, Vec<u8>)]) -> Outcome {
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
pub(super) enum Outcome {
    All,
    Part,
}
