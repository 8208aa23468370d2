//! Putting archive members into a root, each by the kernel's own path resolution.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::rc::Rc;

use rustix::io::Errno;

use super::attributes::{Attributes, RefusedXattrs};
use super::dir::{Dir, HIDDEN_XATTRS, Name};
use super::metadata::{FileKind, Follow, Metadata, Owner};
use super::root::Root;
use crate::path;
use crate::tar::{EntryKind, Header, Piece, Reader, Timestamp};

const BUFFER: usize = 256 << 10;
const IMPLIED_DIR_MODE: u32 = 0o755;

/// Whose the extracted files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtractOwner {
    /// As the archive says.
    Archive,
    /// One for all.
    Fixed(Owner),
    /// The process, which is not allowed to give files away or to make devices.
    Process,
}

/// Puts members into a root.
pub(crate) struct Extractor<'a> {
    root: &'a Root,
    owner: ExtractOwner,
    /// Directories that came without a member of their own.
    implied: Vec<Vec<u8>>,
    /// Times of directories, set when nothing is put into them any more.
    dir_times: Vec<(Vec<u8>, Timestamp)>,
    /// The last parent, since members of one directory mostly come together.
    last_parent: Option<(Vec<u8>, Rc<Dir>)>,
    buffer: Vec<u8>,
}

/// The place of a member: an open directory and a name in it.
pub(crate) struct Spot {
    pub(crate) dir: Rc<Dir>,
    pub(crate) name: Name,
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(root: &'a Root, owner: ExtractOwner) -> Self {
        Self {
            root,
            owner,
            implied: Vec::new(),
            dir_times: Vec::new(),
            last_parent: None,
            buffer: vec![0; BUFFER],
        }
    }

    /// The place for a clean relative path, with its parent directories made; `None` for the root itself.
    pub(crate) fn spot(&mut self, path: &[u8]) -> io::Result<Option<Spot>> {
        let absolute = path::clean(&[b"/", path].concat());
        let slash = absolute.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let (parent, name) = (&absolute[..slash], &absolute[slash + 1..]);
        if name.is_empty() {
            return Ok(None);
        }
        let name = CString::new(name)?;
        Ok(Some(Spot {
            dir: self.directory(parent)?,
            name,
        }))
    }

    /// The directory at an absolute clean path, made if it is missing.
    pub(crate) fn directory(&mut self, path: &[u8]) -> io::Result<Rc<Dir>> {
        if let Some((last, dir)) = &self.last_parent
            && last == path
        {
            return Ok(dir.clone());
        }
        let dir = Rc::new(match self.root.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_parent(path)?,
            result => result?,
        });
        self.last_parent = Some((path.to_vec(), dir.clone()));
        Ok(dir)
    }

    /// Makes the missing directories of a path. A dangling symlink in it is followed to where it points.
    fn make_parent(&mut self, parent: &[u8]) -> io::Result<Dir> {
        let resolved = self
            .root
            .resolve(parent, Follow::Yes)
            .map_err(io::Error::other)?;
        let attributes = Attributes {
            mode: Some(IMPLIED_DIR_MODE),
            times: Some((Timestamp::default(), Timestamp::default())),
            ..Attributes::default()
        };
        let made = self
            .root
            .make_dirs(&resolved, &attributes)
            .map_err(io::Error::other)?;
        self.implied.extend(made);
        self.root.open_dir(&resolved)
    }

    /// Makes one member. What was at its path goes, unless both are directories.
    pub(crate) fn member(
        &mut self,
        header: &Header,
        spot: &Spot,
        data: &mut Reader<impl io::Read>,
    ) -> io::Result<()> {
        let existing = spot.dir.find(&spot.name)?;
        let is_dir = header.kind == EntryKind::Directory;
        let merges = is_dir && existing.is_some_and(|existing| existing.is_dir());
        if existing.is_some() && !merges {
            self.remove(spot, existing)?;
        }
        let mut attributes = self.attributes(header)?;
        if header.kind == EntryKind::File {
            let file = spot.dir.create_file(&spot.name)?;
            self.write(&file, header.size, data)?;
            return attributes.set_on_file(&file);
        }
        if !merges {
            match self.create(header, spot)? {
                Some(FileKind::Symlink) => attributes.mode = None,
                Some(_) => {}
                None => return Ok(()),
            }
        }
        if is_dir {
            let path = path::clean(&[b"/", header.name.as_slice()].concat());
            self.dir_times.push((path, bounded_times(header).1));
        }
        attributes.set(&spot.dir, &spot.name)
    }

    /// Makes a member that is no regular file; tells what is there now, or `None` if the process may not make such.
    fn create(&self, header: &Header, Spot { dir, name }: &Spot) -> io::Result<Option<FileKind>> {
        let device_kind = match header.kind {
            EntryKind::CharDevice => FileKind::CharDevice,
            _ => FileKind::BlockDevice,
        };
        match header.kind {
            EntryKind::Directory => dir.make_dir(name).map(|()| Some(FileKind::Directory)),
            EntryKind::Symlink => {
                dir.make_symlink(&CString::new(header.link.clone())?, name)?;
                Ok(Some(FileKind::Symlink))
            }
            EntryKind::HardLink => self
                .hard_link(header, dir, name)
                .map(|linked| Some(linked.kind)),
            EntryKind::Fifo => dir
                .make_node(name, FileKind::Fifo, 0)
                .map(|()| Some(FileKind::Fifo)),
            EntryKind::CharDevice | EntryKind::BlockDevice => match self.owner {
                ExtractOwner::Process => Ok(None),
                _ => dir
                    .make_node(name, device_kind, device(header)?)
                    .map(|()| Some(device_kind)),
            },
            EntryKind::File | EntryKind::GlobalHeader => Ok(None),
            EntryKind::Other(byte) => Err(invalid(format!("unhandled tar header type {byte}"))),
        }
    }

    /// What a member's entry shall have.
    pub(super) fn attributes(&self, header: &Header) -> io::Result<Attributes> {
        Ok(Attributes {
            owner: self.owner_of(header)?,
            mode: Some((header.mode & 0o7777) as u32),
            times: Some(bounded_times(header)),
            xattrs: xattrs(header)?,
            refused_xattrs: match self.owner {
                ExtractOwner::Process => RefusedXattrs::LeftOut,
                _ => RefusedXattrs::Reported,
            },
        })
    }

    /// Sets the times of directories and gives the implied ones, in the order they were made.
    pub(crate) fn finish(self) -> io::Result<Vec<Vec<u8>>> {
        for (path, time) in &self.dir_times {
            let resolved = self
                .root
                .resolve(path, Follow::Yes)
                .map_err(io::Error::other)?;
            let Ok(Some((parent, name))) = self.root.open_parent(&resolved) else {
                continue;
            };
            // A later member may have taken the directory's place.
            if parent
                .find(&name)?
                .is_some_and(|metadata| metadata.is_dir())
            {
                parent.set_times(&name, *time, *time)?;
            }
        }
        Ok(self.implied)
    }

    /// Removes what is at a place.
    pub(crate) fn remove(&mut self, spot: &Spot, existing: Option<Metadata>) -> io::Result<()> {
        if existing.is_some_and(|existing| existing.is_dir() || existing.kind == FileKind::Symlink)
        {
            // The last parent may be below it, or reached through it.
            self.last_parent = None;
        }
        spot.dir.remove_all(&spot.name)
    }

    fn owner_of(&self, header: &Header) -> io::Result<Option<Owner>> {
        let id =
            |id: i64| u32::try_from(id).map_err(|_| invalid(format!("owner {id} is out of range")));
        Ok(match self.owner {
            ExtractOwner::Archive => Some(Owner {
                uid: id(header.uid)?,
                gid: id(header.gid)?,
            }),
            ExtractOwner::Fixed(owner) => Some(owner),
            ExtractOwner::Process => None,
        })
    }

    fn hard_link(&self, header: &Header, to: &Dir, to_name: &Name) -> io::Result<Metadata> {
        let target = path::clean(&[b"/", header.link.as_slice()].concat());
        let missing = |error: io::Error| {
            let target = String::from_utf8_lossy(&header.link).into_owned();
            io::Error::new(
                error.kind(),
                format!("hard link to {target}: {}", super::error::reason(&error)),
            )
        };
        let (dir, name) = match self.root.open_parent(&target).map_err(missing)? {
            Some(found) => found,
            None => return Err(missing(Errno::PERM.into())),
        };
        let metadata = dir.metadata(&name).map_err(missing)?;
        to.make_link(&dir, &name, to_name).map_err(missing)?;
        Ok(metadata)
    }

    fn write(
        &mut self,
        mut file: &File,
        size: u64,
        data: &mut Reader<impl io::Read>,
    ) -> io::Result<()> {
        let mut ends_in_hole = false;
        loop {
            match data.next_piece(&mut self.buffer)? {
                Piece::Data(length) => {
                    file.write_all(&self.buffer[..length])?;
                    ends_in_hole = false;
                }
                Piece::Hole(length) => {
                    let length = i64::try_from(length)
                        .map_err(|_| invalid("hole is too long".to_owned()))?;
                    file.seek(SeekFrom::Current(length))?;
                    ends_in_hole = true;
                }
                Piece::End if ends_in_hole => return file.set_len(size),
                Piece::End => return Ok(()),
            }
        }
    }
}

/// Times as the field bounds them: nothing before 1970 or beyond what a file system counts in nanoseconds.
fn bounded_times(header: &Header) -> (Timestamp, Timestamp) {
    const MAX_SECONDS: i64 = i64::MAX / 1_000_000_000;
    let bound = |time: Timestamp| {
        if (0..MAX_SECONDS).contains(&time.seconds) {
            time
        } else {
            Timestamp::default()
        }
    };
    (
        bound(header.atime.unwrap_or_default().max(header.mtime)),
        bound(header.mtime),
    )
}

/// Attributes that an archive may set: `trusted.` ones are the host administrator's, overlay's are our own.
fn xattrs(header: &Header) -> io::Result<Vec<(CString, Vec<u8>)>> {
    header
        .xattrs()
        .filter(|(key, _)| {
            !key.starts_with(b"trusted.")
                && !HIDDEN_XATTRS.iter().any(|hidden| key.starts_with(hidden))
        })
        .map(|(key, value)| Ok((CString::new(key)?, value.to_vec())))
        .collect()
}

fn device(header: &Header) -> io::Result<u64> {
    let number = |number: i64| {
        u32::try_from(number)
            .map_err(|_| invalid(format!("device number {number} is out of range")))
    };
    Ok(rustix::fs::makedev(
        number(header.dev_major)?,
        number(header.dev_minor)?,
    ))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
