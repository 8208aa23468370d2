//! Writing archives.
use super::Header;
use std::io::{self, Read, Write};
/// Why a member cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /** Writing the stream failed. */
    #[error("write archive: {0}")]
    Io(#[from] io::Error),
}
/// Writes members one after the other; after a file's header its data goes in through `io::Write`.
pub struct Writer<W> {
    output: W,
}
impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(output: W) -> Self {
        Self { output }
    }
    /// Writes a member's header.
    pub fn header(&mut self, _header: &Header) -> Result<(), WriteError> {
        Ok(())
    }
    /// Writes a member with its data, which must be exactly `header.size` bytes.
    pub fn entry(&mut self, _header: &Header, _data: impl Read) -> Result<(), WriteError> {
        Ok(())
    }
    /// Writes the end of the archive and gives the stream back.
    pub fn finish(self) -> Result<W, WriteError> {
        Ok(self.output)
    }
}
impl<W: Write> Write for Writer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.output.write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
