//! One archive member's metadata, in a form free of any particular header encoding.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::XATTR_RECORD_PREFIX;

/// What an archive member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A second name of a member that came earlier in the archive.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// PAX records that apply to everything after them.
    GlobalHeader,
    /// Anything else, by its type byte.
    Other(u8),
}

impl EntryKind {
    /// The type byte of the header.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::GlobalHeader => b'g',
            Self::Other(byte) => byte,
        }
    }

    /// The kind that a type byte stands for.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            b'0' | 0 => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            b'g' => Self::GlobalHeader,
            other => Self::Other(other),
        }
    }

    /// Whether members of this kind never carry data, whatever their size field says.
    pub fn is_header_only(self) -> bool {
        matches!(
            self,
            Self::HardLink
                | Self::Symlink
                | Self::CharDevice
                | Self::BlockDevice
                | Self::Directory
                | Self::Fifo
        )
    }
}

/// A moment, with the sign on the seconds and nanoseconds always counting forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after those seconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// A whole second.
    pub const fn seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }

    /// The same moment without its fraction, rounded down.
    pub const fn truncated(self) -> Self {
        Self::seconds(self.seconds)
    }

    /// The nearest whole second, halves away from zero.
    pub const fn rounded(self) -> Self {
        Self::seconds(
            self.seconds
                .saturating_add((self.nanos >= 500_000_000) as i64),
        )
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: after.as_secs() as i64,
                nanos: after.subsec_nanos(),
            },
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => Self::seconds(-(before.as_secs() as i64)),
                    nanos => Self {
                        seconds: -(before.as_secs() as i64) - 1,
                        nanos: 1_000_000_000 - nanos,
                    },
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let base = if time.seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        base.and_then(|base| base.checked_add(Duration::from_nanos(time.nanos.into())))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// The family a header was read from or shall be written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// The smallest form that holds everything; a fraction of a second is rounded away first.
    #[default]
    Any,
    /// USTAR where it holds everything, PAX records where it does not.
    Pax,
}

/// Metadata of one archive member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Path inside the archive; directories end in a slash.
    pub name: Vec<u8>,
    /// Target of a symbolic link or, for a hard link, the member it repeats.
    pub link: Vec<u8>,
    /// What the member is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky (at most 0o7777 from our own code).
    pub mode: i64,
    /// Numeric owner.
    pub uid: i64,
    /// Numeric group.
    pub gid: i64,
    /// Bytes of data that follow (for a sparse file: its expanded size).
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Access time, when the archive has one.
    pub atime: Option<Timestamp>,
    /// Change time, when the archive has one.
    pub ctime: Option<Timestamp>,
    /// Major number of a device.
    pub dev_major: i64,
    /// Minor number of a device.
    pub dev_minor: i64,
    /// Owner's name; layers leave it empty.
    pub user_name: Vec<u8>,
    /// Group's name; layers leave it empty.
    pub group_name: Vec<u8>,
    /// Further PAX records, such as `SCHILY.xattr.security.capability`.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The form it came in or shall go out in.
    pub format: Format,
}

impl Header {
    /// A member of the given kind with nothing else set: owner root, time zero, mode zero.
    pub fn new(name: impl Into<Vec<u8>>, kind: EntryKind) -> Self {
        Self {
            name: name.into(),
            link: Vec::new(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::default(),
            atime: None,
            ctime: None,
            dev_major: 0,
            dev_minor: 0,
            user_name: Vec::new(),
            group_name: Vec::new(),
            records: BTreeMap::new(),
            format: Format::Any,
        }
    }

    /// A regular file of `size` bytes.
    pub fn file(name: impl Into<Vec<u8>>, size: u64, mode: i64) -> Self {
        Self {
            size,
            mode,
            ..Self::new(name, EntryKind::File)
        }
    }

    /// A directory; the trailing slash is added where it is missing.
    pub fn directory(name: impl Into<Vec<u8>>, mode: i64) -> Self {
        let mut name = name.into();
        if !name.ends_with(b"/") {
            name.push(b'/');
        }
        Self {
            mode,
            ..Self::new(name, EntryKind::Directory)
        }
    }

    /// The member's name as a path.
    pub fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.name))
    }

    /// Extended attributes carried in the PAX records, by attribute name.
    pub fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().filter_map(|(key, value)| {
            Some((
                key.strip_prefix(XATTR_RECORD_PREFIX.as_bytes())?,
                value.as_slice(),
            ))
        })
    }

    /// Adds an extended attribute.
    pub fn set_xattr(&mut self, name: &[u8], value: impl Into<Vec<u8>>) {
        self.records.insert(
            [XATTR_RECORD_PREFIX.as_bytes(), name].concat(),
            value.into(),
        );
    }
}
