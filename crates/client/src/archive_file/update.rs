//! Writing: behind the end of an archive, or in its place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_store::place::temporary_name;
use kiln_store::tar::{Header, Writer};
use sha2::{Digest as _, Sha256};

use super::scan::{self, BLOCK, Members};

/// Two blocks of zeros.
const END_MARK: u64 = 2 * BLOCK;
/// Written at once.
const PIECE: usize = 1 << 20;

/// An archive on its way behind the end of another one.
pub(super) struct Appending {
    file: Arc<File>,
    naming: u64,
    end: u64,
    /// Where the new one began.
    begin: u64,
    offset: u64,
    is_done: bool,
}

impl Appending {
    pub(super) fn begin(file: Arc<File>, members: &Members) -> io::Result<Self> {
        let begin = members.end + END_MARK;
        // What an interrupted update left.
        file.set_len(begin)?;
        Ok(Self {
            file,
            naming: members.naming,
            end: members.end,
            begin,
            offset: begin,
            is_done: false,
        })
    }

    /// Makes one archive of the two.
    fn join(&self) -> io::Result<()> {
        let Some(new) = scan::members(&self.file, self.begin)? else {
            let message =
                "the image came in another form than that of an OCI archive; leave out update=true";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        if self.says_the_same(&new)? {
            return self.file.set_len(self.begin);
        }
        self.file.sync_data()?;
        let mut naming = vec![0; (self.begin - self.naming - BLOCK) as usize];
        self.file.read_exact_at(&mut naming, self.naming + BLOCK)?;
        let name = format!("blobs/sha256/{}", hex::encode(Sha256::digest(&naming)));
        let mut header = Vec::new();
        let written =
            Writer::new(&mut header).header(&Header::file(name, naming.len() as u64, 0o444));
        written.map_err(io::Error::other)?;
        self.file.write_all_at(&header, self.naming)?;
        self.file.sync_data()
    }

    /// Whether the files that name the image are those that are there.
    fn says_the_same(&self, new: &Members) -> io::Result<bool> {
        let read = |begin: u64, end: u64| {
            let mut bytes = vec![0; (end - begin) as usize];
            self.file.read_exact_at(&mut bytes, begin)?;
            Ok::<_, io::Error>(bytes)
        };
        Ok(read(self.naming, self.end)? == read(new.naming, new.end)?)
    }
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.file.write_all_at(piece, self.offset)?;
        self.offset += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_done {
            self.join()?;
            self.is_done = true;
        }
        Ok(())
    }
}

/// A whole archive that takes the place of another one in the end.
pub(super) struct Replacing {
    out: BufWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
    is_done: bool,
}

impl Replacing {
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(temporary_name());
        let temporary = path.with_file_name(name);
        let file = File::create_new(&temporary)?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        Ok(Self {
            out: BufWriter::with_capacity(PIECE, file),
            path: path.to_owned(),
            temporary,
            is_done: false,
        })
    }
}

impl Write for Replacing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_done {
            return Ok(());
        }
        self.out.flush()?;
        self.out.get_ref().sync_data()?;
        fs::rename(&self.temporary, &self.path)?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
