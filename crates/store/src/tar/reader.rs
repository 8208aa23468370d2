//! Reading archives.
use super::Header;
use std::io::{self, Read};
/// Bounds on what an archive may make its reader hold or deliver.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /** Members. */
    pub entries: u64,
    /** Bytes of one member's extended header. */
    pub special_bytes: u64,
    /** Bytes of one name or link target. */
    pub name_bytes: usize,
    /** Sum of all members' expanded sizes. */
    pub total_bytes: u64,
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            special_bytes: 1 << 20,
            name_bytes: 4096,
            total_bytes: 1 << 44,
        }
    }
}
/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /** Reading the stream failed. */
    #[error("read archive: {0}")]
    Io(#[from] io::Error),
}
/// Reads members one after the other; `io::Read` yields the current member's data.
pub struct Reader<R> {
    input: R,
}
impl<R: Read> Reader<R> {
    /// A reader with the default limits.
    pub fn new(input: R) -> Self {
        Self { input }
    }
    /// A reader with limits of the caller's.
    pub fn with_limits(input: R, _limits: Limits) -> Self {
        Self { input }
    }
    /// Advances to the next member, or `None` at the end of the archive.
    pub fn next_header(&mut self) -> Result<Option<Header>, ReadError> {
        Ok(None)
    }
    /// Gives the stream back.
    pub fn into_inner(self) -> R {
        self.input
    }
}
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}
