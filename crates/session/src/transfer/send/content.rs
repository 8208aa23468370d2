//! Reading one file that may change meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use kiln_store::walk::{Kind, Stamp, WalkRoot};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::transfer::entry::split;
use crate::transfer::error::{TransferError, path_of};

/// The largest piece of content in one packet. Smaller files are sent as they were at one moment.
const PIECE: usize = 1 << 20;

/// How often a file is read that changes while it is.
const ATTEMPTS: usize = 3;

/// The directory that was read from last: neighbours in the list are mostly in one.
#[derive(Default)]
pub(super) struct LastDirectory(Option<(usize, Vec<u8>, OwnedFd)>);

impl LastDirectory {
    fn open(&mut self, root: (usize, &WalkRoot), path: &[u8]) -> Result<File, TransferError> {
        let failed = |error: Errno| TransferError::file("open", path, error);
        let (directory, name) = split(path);
        let known = self
            .0
            .as_ref()
            .is_some_and(|(number, last, _)| *number == root.0 && last == directory);
        if !known {
            let opened = root.1.directory(directory).map_err(failed)?;
            self.0 = Some((root.0, directory.to_vec(), opened));
        }
        let Some((_, _, directory)) = &self.0 else {
            return Err(failed(Errno::NOENT));
        };
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(failed)?;
        Ok(File::from(file))
    }
}

/// One file being sent.
pub(super) struct Reading<'a> {
    pub(super) root: (usize, &'a WalkRoot),
    /// Where it is below the root.
    pub(super) path: &'a [u8],
}

impl Reading<'_> {
    /// Gives the content to `send`, piece by piece.
    pub(super) fn read(
        &self,
        last: &mut LastDirectory,
        mut send: impl FnMut(Bytes) -> Result<(), TransferError>,
    ) -> Result<(), TransferError> {
        let file = last.open(self.root, self.path)?;
        let mut stamp = self.stamp(&file)?;
        if stamp.kind != Kind::File {
            return Err(self.changing());
        }
        if stamp.size > PIECE as u64 {
            return self.read_large(&file, &stamp, send);
        }
        for attempt in 1..=ATTEMPTS {
            let content = self.read_at(&file, 0, stamp.size as usize)?;
            let after = self.stamp(&file)?;
            // What somebody appends to, such as a log, is taken as it was when we came.
            let only_grew = after.size > stamp.size && attempt == ATTEMPTS;
            if content.len() as u64 == stamp.size && (after == stamp || only_grew) {
                return match content.is_empty() {
                    true => Ok(()),
                    false => send(content),
                };
            }
            if after.size > PIECE as u64 {
                return self.read_large(&file, &after, send);
            }
            stamp = after;
        }
        Err(self.changing())
    }

    /// A large file is sent while it is read: if it changes, there is no way back.
    fn read_large(
        &self,
        file: &File,
        stamp: &Stamp,
        mut send: impl FnMut(Bytes) -> Result<(), TransferError>,
    ) -> Result<(), TransferError> {
        let mut at = 0;
        while at < stamp.size {
            let most = usize::try_from(stamp.size - at).unwrap_or(PIECE).min(PIECE);
            let piece = self.read_at(file, at, most)?;
            if piece.is_empty() {
                return Err(self.changing());
            }
            at += piece.len() as u64;
            send(piece)?;
        }
        let after = self.stamp(file)?;
        match after == *stamp || after.size > stamp.size {
            true => Ok(()),
            false => Err(self.changing()),
        }
    }

    fn read_at(&self, file: &File, offset: u64, most: usize) -> Result<Bytes, TransferError> {
        let mut content = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match file.read_at(&mut content[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TransferError::file("read", self.path, error)),
            }
        }
        content.truncate(filled);
        Ok(content.into())
    }

    fn stamp(&self, file: &File) -> Result<Stamp, TransferError> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statx(file, c"", flags, StatxFlags::BASIC_STATS)
            .map(|stat| Stamp::of(&stat))
            .map_err(|error| TransferError::file("read", self.path, error))
    }

    fn changing(&self) -> TransferError {
        TransferError::Changing {
            path: path_of(self.path).to_owned(),
        }
    }
}
