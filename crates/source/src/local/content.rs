//! Copying and comparing the content of files that may change meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_store::checksum::FileHash;
use kiln_store::walk::Stamp;
use rustix::fs::{AtFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;

/// From this size on, the kernel is asked to share blocks instead of copying.
const WORTH_CLONING: u64 = 64 << 10;
const BUFFER: usize = 256 << 10;

/// What one thread copies with.
pub(super) struct Copier {
    buffer: Vec<u8>,
}

impl Default for Copier {
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER],
        }
    }
}

/// Whether the two file systems can share blocks; learnt from the first attempt.
pub(super) struct Cloning(AtomicBool);

impl Default for Cloning {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

/// Which file becomes which.
pub(super) struct Files<'a> {
    pub(super) from: &'a File,
    pub(super) to: &'a File,
    pub(super) cloning: &'a Cloning,
    /// Told of each number of bytes.
    pub(super) progress: &'a dyn Fn(u64),
}

impl Copier {
    /// Copies the first `size` bytes of a file, holes as holes. `false` if it is shorter.
    /// The content goes into `hash`, which becomes `None` if not all of it passes by here.
    pub(super) fn copy(
        &mut self,
        files: &Files<'_>,
        size: u64,
        hash: &mut Option<FileHash>,
    ) -> io::Result<bool> {
        let Files {
            from, to, cloning, ..
        } = *files;
        if size >= WORTH_CLONING && cloning.0.load(Ordering::Relaxed) {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => {
                    rustix::fs::ftruncate(to, size)?;
                    *hash = None;
                    (files.progress)(size);
                    return Ok(from.metadata()?.len() >= size);
                }
                Err(_) => cloning.0.store(false, Ordering::Relaxed),
            }
        }
        let is_sparse = || rustix::fs::fstat(from).map(|stat| (stat.st_blocks as u64) * 512 < size);
        if size < WORTH_CLONING || !is_sparse()? {
            return self.copy_range(files, 0..size, hash);
        }
        *hash = None;
        rustix::fs::ftruncate(to, size)?;
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) if start < size => start,
                Ok(_) | Err(Errno::NXIO) => return Ok(true),
                Err(_) => return self.copy_range(files, at..size, hash),
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(start))?.min(size);
            if !self.copy_range(files, start..end, hash)? {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    fn copy_range(
        &mut self,
        files: &Files<'_>,
        range: Range<u64>,
        hash: &mut Option<FileHash>,
    ) -> io::Result<bool> {
        let Range { start: mut at, end } = range;
        while at < end {
            let most = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            let count = files.from.read_at(&mut self.buffer[..most], at)?;
            if count == 0 {
                return Ok(false);
            }
            files.to.write_all_at(&self.buffer[..count], at)?;
            if let Some(hash) = hash {
                hash.update(&self.buffer[..count]);
            }
            at += count as u64;
            (files.progress)(count as u64);
        }
        Ok(true)
    }

    /// Whether two files have the same content.
    pub(super) fn same(&mut self, a: &File, b: &File) -> io::Result<bool> {
        let (first, second) = self.buffer.split_at_mut(BUFFER / 2);
        let mut at = 0;
        loop {
            let count = a.read_at(first, at)?;
            if count == 0 {
                return Ok(b.read_at(&mut second[..1], at)? == 0);
            }
            match b.read_exact_at(&mut second[..count], at) {
                Ok(()) if first[..count] == second[..count] => at += count as u64,
                Ok(()) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The stamp of an open file.
pub(super) fn stamp_of(file: impl rustix::fd::AsFd) -> Result<Stamp, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statx(file, c"", flags, StatxFlags::BASIC_STATS).map(|stat| Stamp::of(&stat))
}
