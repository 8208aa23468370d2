//! Copying file data the cheapest way the file systems allow.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;

use crate::cancel::Cancelled;

/// Bytes asked for in one system call, so that a cancelled copy stops soon.
const PIECE: u64 = 64 << 20;

/// Copies `size` bytes into an empty file: by sharing the blocks, else inside the kernel, else through memory. Holes
/// stay holes.
pub(crate) fn copy_data(
    from: &File,
    to: &mut File,
    size: u64,
    cancelled: &Cancelled,
) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    if ioctl_ficlone(to.as_fd(), from.as_fd()).is_ok() {
        return Ok(());
    }
    let mut offset = 0;
    while let Some((start, end)) = next_data(from, offset, size)? {
        copy_range(from, to, start, end, cancelled)?;
        offset = end;
    }
    // A hole at the end, or all of the file.
    ftruncate(to.as_fd(), size)?;
    Ok(())
}

/// The next stretch of data at or after `offset`; file systems that know no holes have one stretch.
fn next_data(from: &File, offset: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if offset >= size {
        return Ok(None);
    }
    let start = match seek(from, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(_) => return Ok(Some((offset, size))),
    };
    let end = seek(from, SeekFrom::Hole(start)).unwrap_or(size);
    Ok(Some((start, end.min(size))).filter(|_| start < size))
}

fn copy_range(
    from: &File,
    to: &mut File,
    start: u64,
    end: u64,
    cancelled: &Cancelled,
) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        cancelled.check()?;
        let length = usize::try_from((end - read_at).min(PIECE)).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut read_at), &to, Some(&mut write_at), length) {
            // The file became shorter: the caller's size brings the rest back as a hole.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_through_memory(from, to, read_at, end, cancelled);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_through_memory(
    from: &File,
    to: &mut File,
    start: u64,
    end: u64,
    cancelled: &Cancelled,
) -> io::Result<()> {
    seek(from, SeekFrom::Start(start))?;
    seek(&*to, SeekFrom::Start(start))?;
    let mut left = end - start;
    let mut buffer = vec![0; 256 << 10];
    while left > 0 {
        cancelled.check()?;
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = { from }.read(&mut buffer[..most])?;
        if length == 0 {
            break;
        }
        to.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    Ok(())
}

/// Whether two files hold the same bytes. Both are read from their start.
pub(crate) fn same_data(one: &File, other: &File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = read_full(one, &mut left)?;
        if length != read_full(other, &mut right)? || left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

fn read_full(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
