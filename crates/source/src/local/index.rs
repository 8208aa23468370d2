//! What a snapshot was made from, kept with it: the stamps of all source files.

use std::cmp::Ordering;

use kiln_store::walk::{Entry, Kind, Stamp, Time, walk_order};

const VERSION: u8 = 1;

/// Whether an equal stamp proves that a file is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It does.
    Stamp,
    /// It does not: the file could have been written again in the same tick of the
    /// clock, after it was read.
    ReadAgain,
}

/// One source file as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) entry: Entry,
    pub(super) trust: Trust,
}

/// The files of one snapshot in the order of a walk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index(pub(super) Vec<Indexed>);

impl Index {
    /// Pairs the files of another walk with those of this one.
    pub(super) fn align<'a>(&'a self, entries: &'a [Entry]) -> Vec<Option<&'a Indexed>> {
        let mut rest = self.0.iter().peekable();
        let mut partner = |entry: &Entry| loop {
            let next = rest.peek()?;
            match walk_order(&next.entry.path, &entry.path) {
                Ordering::Less => {
                    rest.next();
                }
                Ordering::Equal => return rest.next(),
                Ordering::Greater => return None,
            }
        };
        entries.iter().map(&mut partner).collect()
    }

    /// The kept form: paths share their beginnings, numbers take the room they need.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, self.0.len() as u64);
        let mut last: &[u8] = &[];
        for indexed in &self.0 {
            let Entry { path, stamp } = &indexed.entry;
            let shared = last.iter().zip(path).take_while(|(a, b)| a == b).count();
            put(&mut out, shared as u64);
            put(&mut out, (path.len() - shared) as u64);
            out.extend_from_slice(&path[shared..]);
            out.push(kind_code(stamp.kind) << 1 | u8::from(indexed.trust == Trust::ReadAgain));
            put(&mut out, stamp.mode.into());
            put(&mut out, stamp.size);
            put_time(&mut out, stamp.mtime);
            put_time(&mut out, stamp.ctime);
            put(&mut out, stamp.device);
            put(&mut out, stamp.inode);
            put(&mut out, stamp.links.into());
            put(&mut out, stamp.rdev);
            last = path;
        }
        out
    }

    /// Reads the kept form; `None` if it is damaged or of another version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let input = &mut rest;
        let count = take(input)?;
        let mut files = Vec::new();
        let mut last = Vec::new();
        for _ in 0..count {
            let shared = usize::try_from(take(input)?).ok()?;
            let length = usize::try_from(take(input)?).ok()?;
            let mut path: Vec<u8> = last.get(..shared)?.to_vec();
            path.extend_from_slice(input.split_off(..length)?);
            let (code, trust) = match *input.split_off_first()? {
                code if code & 1 == 0 => (code >> 1, Trust::Stamp),
                code => (code >> 1, Trust::ReadAgain),
            };
            let stamp = Stamp {
                kind: kind_of(code)?,
                mode: take(input)?.try_into().ok()?,
                size: take(input)?,
                mtime: take_time(input)?,
                ctime: take_time(input)?,
                device: take(input)?,
                inode: take(input)?,
                links: take(input)?.try_into().ok()?,
                rdev: take(input)?,
            };
            last.clone_from(&path);
            files.push(Indexed {
                entry: Entry { path, stamp },
                trust,
            });
        }
        Some(Self(files))
    }
}

const KINDS: [Kind; 7] = [
    Kind::Directory,
    Kind::File,
    Kind::Symlink,
    Kind::Fifo,
    Kind::CharDevice,
    Kind::BlockDevice,
    Kind::Socket,
];

fn kind_code(kind: Kind) -> u8 {
    KINDS
        .iter()
        .position(|&known| known == kind)
        .unwrap_or_default() as u8
}

fn kind_of(code: u8) -> Option<Kind> {
    KINDS.get(usize::from(code)).copied()
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *input.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    // Times before 1970 are rare, and then just take ten bytes.
    put(out, time.seconds as u64);
    put(out, time.nanos.into());
}

fn take_time(input: &mut &[u8]) -> Option<Time> {
    Some(Time {
        seconds: take(input)? as i64,
        nanos: take(input)?.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(path: &str, inode: u64, trust: Trust) -> Indexed {
        let time = Time {
            seconds: -5,
            nanos: 999_999_999,
        };
        let stamp = Stamp {
            kind: Kind::Symlink,
            mode: 0o7777,
            size: u64::MAX,
            mtime: time,
            ctime: Time::default(),
            device: 1 << 40,
            inode,
            links: 3,
            rdev: 0,
        };
        Indexed {
            entry: Entry {
                path: path.into(),
                stamp,
            },
            trust,
        }
    }

    #[test]
    fn kept_and_read() {
        let files = [
            ("a", Trust::Stamp),
            ("a/b", Trust::ReadAgain),
            ("a/bc", Trust::Stamp),
            ("z", Trust::Stamp),
        ];
        let index = Index(
            files
                .iter()
                .zip(1..)
                .map(|(&(path, trust), inode)| indexed(path, inode, trust))
                .collect(),
        );
        let bytes = index.to_bytes();
        assert_eq!(Index::from_bytes(&bytes), Some(index));
        for cut in 0..bytes.len() {
            assert_eq!(Index::from_bytes(&bytes[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn walks_are_aligned() {
        let old = Index(
            ["a", "a/b", "a.c", "d"]
                .map(|path| indexed(path, 1, Trust::Stamp))
                .to_vec(),
        );
        let new = ["a", "a/a", "a.c", "e"].map(|path| indexed(path, 2, Trust::Stamp).entry);
        let pairs: Vec<bool> = old.align(&new).iter().map(Option::is_some).collect();
        assert_eq!(pairs, [true, false, true, false]);
    }
}
