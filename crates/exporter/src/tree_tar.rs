//! `type=tar`: the files, in a tar stream.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use kiln_store::tar::{EntryKind, Header, Timestamp, Writer};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, openat, readlinkat, statat,
};
use rustix::io::Errno;

use crate::ExportError;
use crate::cancel::{Cancelled, Guarded};
use crate::opened::{OpenTree, folder_name};
use crate::progress::Step;
use crate::xattrs;

/// How a tar of files is to be written.
pub(crate) struct TarPlan {
    /// Whether every tree gets a folder of its own.
    pub(crate) split: bool,
    /// The time that every file gets.
    pub(crate) epoch: Option<i64>,
    pub(crate) cancelled: Cancelled,
}

/// Writes the trees: depth first, names sorted, files as they are owned in the result.
pub(crate) fn write_tree_tar(
    out: Box<dyn Write + Send>,
    trees: Vec<OpenTree>,
    plan: TarPlan,
    step: &Step,
) -> Result<(), ExportError> {
    let guarded = Guarded {
        stream: out,
        cancelled: plan.cancelled,
    };
    let mut walk = Walk {
        tar: Writer::new(io::BufWriter::with_capacity(256 << 10, guarded)),
        epoch: plan.epoch,
        trees: trees.iter().map(|tree| tree.platform.clone()).collect(),
        seen: HashMap::new(),
        written: 0,
        step,
    };
    let mut roots: Vec<(usize, &OpenTree)> = trees.iter().enumerate().collect();
    if plan.split {
        roots.sort_by_key(|(_, tree)| folder_name(&tree.platform));
        for (index, tree) in roots {
            let folder = folder_name(&tree.platform).into_bytes();
            walk.folder(&folder)?;
            let sources: Vec<_> = tree.layers().map(|layer| (index, layer)).collect();
            walk.directory(&[folder, b"/".to_vec()].concat(), &sources)?;
        }
    } else {
        let sources: Vec<_> = roots
            .iter()
            .flat_map(|(index, tree)| tree.layers().map(|layer| (*index, layer)))
            .collect();
        walk.directory(b"", &sources)?;
    }
    let mut out = walk.tar.finish()?;
    out.flush().map_err(ExportError::Stream)
}

/// Names in source directories, sorted, with the sources that have them and the trees those belong to.
type Entries<'s> = BTreeMap<CString, Vec<(usize, &'s OwnedFd)>>;

struct Walk<'a, W: Write> {
    tar: Writer<W>,
    epoch: Option<i64>,
    trees: Vec<String>,
    /// First names of files that have several.
    seen: HashMap<(u64, u64), Vec<u8>>,
    written: u64,
    step: &'a Step,
}

impl<W: Write> Walk<'_, W> {
    fn folder(&mut self, name: &[u8]) -> Result<(), ExportError> {
        let mut header = Header::directory(name, 0o755);
        header.mtime = Timestamp::seconds(self.epoch.unwrap_or(0));
        self.header(&header)
    }

    /// Writes what is in a directory of one tree, or of several that are laid over each other.
    fn directory(&mut self, path: &[u8], sources: &[(usize, &OwnedFd)]) -> Result<(), ExportError> {
        for (name, having) in self.entries(path, sources)? {
            let path = [path, name.as_bytes()].concat();
            let Some((_, first)) = having.first() else {
                continue;
            };
            let stat = statat(first, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| reading(&path, error))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if let [_, (other, _), ..] = having.as_slice() {
                    return Err(self.overwrite(&path, having[0].0, *other));
                }
                self.entry(&path, first, &name, &stat)?;
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut opened = Vec::with_capacity(having.len());
            for (tree, source) in &having {
                match openat(source, &name, flags, Mode::empty()) {
                    Ok(directory) => opened.push((*tree, directory)),
                    Err(Errno::NOTDIR | Errno::LOOP) => {
                        return Err(self.overwrite(&path, having[0].0, *tree));
                    }
                    Err(error) => return Err(reading(&path, error)),
                }
            }
            let sources: Vec<_> = opened
                .iter()
                .map(|(tree, directory)| (*tree, directory))
                .collect();
            let path = [path.as_slice(), b"/"].concat();
            let mut header = self.describe(&path, EntryKind::Directory, &stat);
            if let [(_, directory), ..] = sources.as_slice() {
                self.add_xattrs(&mut header, &path, directory)?;
            }
            self.header(&header)?;
            self.directory(&path, &sources)?;
        }
        Ok(())
    }

    /// The names in a directory, sorted, with the sources that have them.
    fn entries<'s>(
        &self,
        path: &[u8],
        sources: &[(usize, &'s OwnedFd)],
    ) -> Result<Entries<'s>, ExportError> {
        let mut entries = Entries::new();
        for (tree, source) in sources {
            for entry in Dir::read_from(source).map_err(|error| reading(path, error))? {
                let name = entry
                    .map_err(|error| reading(path, error))?
                    .file_name()
                    .to_owned();
                if !matches!(name.as_bytes(), b"." | b"..") {
                    entries.entry(name).or_default().push((*tree, *source));
                }
            }
        }
        Ok(entries)
    }

    fn entry(
        &mut self,
        path: &[u8],
        source: &OwnedFd,
        name: &CString,
        stat: &Stat,
    ) -> Result<(), ExportError> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.regular(path, source, name, stat),
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            // Nothing listens on a socket that lies in a result, and tar has no form for it.
            _ => return Ok(()),
        };
        let mut header = self.describe(path, kind, stat);
        match kind {
            EntryKind::Symlink => {
                let target =
                    readlinkat(source, name, Vec::new()).map_err(|error| reading(path, error))?;
                header.link = target.into_bytes();
            }
            EntryKind::CharDevice | EntryKind::BlockDevice => {
                header.dev_major = i64::from(major(stat.st_rdev));
                header.dev_minor = i64::from(minor(stat.st_rdev));
            }
            _ => {}
        }
        self.header(&header)
    }

    fn regular(
        &mut self,
        path: &[u8],
        source: &OwnedFd,
        name: &CString,
        stat: &Stat,
    ) -> Result<(), ExportError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat(source, name, flags, Mode::empty()).map_err(|error| reading(path, error))?;
        let mut header = self.describe(path, EntryKind::File, stat);
        self.add_xattrs(&mut header, path, &file)?;
        let inode = (stat.st_dev, stat.st_ino);
        match self.seen.get(&inode).filter(|_| stat.st_nlink > 1) {
            Some(first) => {
                header.kind = EntryKind::HardLink;
                header.link.clone_from(first);
                self.header(&header)
            }
            None => {
                if stat.st_nlink > 1 {
                    self.seen.insert(inode, path.to_vec());
                }
                header.size = stat.st_size as u64;
                let written = self.tar.entry(&header, File::from(file));
                written?;
                self.written += header.size;
                self.step.advance(self.written, None);
                Ok(())
            }
        }
    }

    fn describe(&self, path: &[u8], kind: EntryKind, stat: &Stat) -> Header {
        let mut header = Header::new(path, kind);
        header.mode = i64::from(stat.st_mode & 0o7777);
        header.uid = i64::from(stat.st_uid);
        header.gid = i64::from(stat.st_gid);
        header.mtime = match self.epoch {
            Some(seconds) => Timestamp::seconds(seconds),
            None => Timestamp {
                seconds: stat.st_mtime,
                nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
        };
        header
    }

    fn add_xattrs(
        &self,
        header: &mut Header,
        path: &[u8],
        file: &OwnedFd,
    ) -> Result<(), ExportError> {
        let xattrs = xattrs::read(file.as_fd()).map_err(|source| reading(path, source))?;
        for (name, value) in xattrs {
            header.set_xattr(name.as_bytes(), value);
        }
        Ok(())
    }

    fn header(&mut self, header: &Header) -> Result<(), ExportError> {
        self.tar.header(header).map_err(ExportError::from)
    }

    fn overwrite(&self, path: &[u8], one: usize, other: usize) -> ExportError {
        let path = String::from_utf8_lossy(path);
        if one == other {
            return crate::opened::attestation_in_the_way(&path);
        }
        let (one, other) = (&self.trees[one], &self.trees[other]);
        ExportError::Result(format!(
            "cannot overwrite {path} from {one} with {other} when split option is disabled"
        ))
    }
}

fn reading(path: &[u8], error: impl Into<io::Error>) -> ExportError {
    use std::os::unix::ffi::OsStrExt;
    ExportError::File {
        action: "read",
        path: std::ffi::OsStr::from_bytes(path).into(),
        source: error.into(),
    }
}
