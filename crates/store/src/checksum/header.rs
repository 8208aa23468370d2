//! The hash of one file: its header in a fixed form of words and numbers, then its content.

use std::ffi::CString;

use sha2::{Digest as _, Sha256};

use super::{RootHeader, Sum};
use crate::tree::{FileKind, Metadata};

/// Hashes one file while its content passes by.
#[derive(Clone, Debug)]
pub struct FileHash(Sha256);

impl FileHash {
    /// Starts with everything but the content. `link` is a symlink's target.
    pub fn new(
        root_header: RootHeader,
        metadata: &Metadata,
        link: &[u8],
        xattrs: &[(CString, Vec<u8>)],
    ) -> Self {
        let mut hash = Sha256::new();
        let mut field = |name: &str, value: &[u8]| {
            hash.update(name.as_bytes());
            hash.update(value);
        };
        // Names are hashed where files are gathered into directories.
        field("name", b"");
        field("mode", mode(metadata).to_string().as_bytes());
        field("uid", metadata.owner.uid.to_string().as_bytes());
        field("gid", metadata.owner.gid.to_string().as_bytes());
        field("size", size(metadata).to_string().as_bytes());
        field("typeflag", &[type_flag(metadata.kind)]);
        field("linkname", link);
        field("uname", b"");
        field("gname", b"");
        let (major, minor) = device(root_header, metadata);
        field("devmajor", major.to_string().as_bytes());
        field("devminor", minor.to_string().as_bytes());
        let mut counted: Vec<_> = xattrs
            .iter()
            .filter(|(key, _)| counts(key.as_bytes()))
            .collect();
        counted.sort_unstable();
        for (key, value) in counted {
            hash.update(key.as_bytes());
            hash.update(value);
        }
        Self(hash)
    }

    /// The next bytes of the content.
    pub fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    pub(super) fn finish(self) -> Sum {
        self.0.finalize().into()
    }
}

fn mode(metadata: &Metadata) -> u32 {
    if metadata.kind == FileKind::Symlink {
        0o777
    } else {
        metadata.mode
    }
}

fn size(metadata: &Metadata) -> u64 {
    if metadata.kind == FileKind::File {
        metadata.size
    } else {
        0
    }
}

fn type_flag(kind: FileKind) -> u8 {
    match kind {
        // Archives know no sockets; they count as empty files.
        FileKind::File | FileKind::Socket => b'0',
        FileKind::Symlink => b'2',
        FileKind::CharDevice => b'3',
        FileKind::BlockDevice => b'4',
        FileKind::Directory => b'5',
        FileKind::Fifo => b'6',
    }
}

fn device(root_header: RootHeader, metadata: &Metadata) -> (u32, u32) {
    let is_device = matches!(metadata.kind, FileKind::CharDevice | FileKind::BlockDevice);
    match root_header {
        RootHeader::Ignored if is_device => (
            rustix::fs::major(metadata.rdev),
            rustix::fs::minor(metadata.rdev),
        ),
        _ => (0, 0),
    }
}

/// Attributes that the host's security modules and the kernel keep for themselves do not count.
fn counts(key: &[u8]) -> bool {
    key == b"security.capability" || !key.starts_with(b"security.") && !key.starts_with(b"system.")
}
