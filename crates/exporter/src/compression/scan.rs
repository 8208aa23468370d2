//! Cutting a tar stream into headers and data without changing a byte of it.

use std::io;

use kiln_store::tar::{Header, Reader};

use super::Algorithm;

const BLOCK: usize = 512;
const TYPE: usize = 156;
const SIZE: std::ops::Range<usize> = 124..136;
/// Longest extended header, as readers accept it.
const LONGEST_SPECIAL: u64 = 1 << 20;

/// A part of the stream.
pub(super) enum Part<'a> {
    /// Bytes of headers, of padding and of the end.
    Frame(&'a [u8]),
    /// Bytes of the data of the member whose header came before.
    Data(&'a [u8]),
}

/// Follows a tar stream that comes in pieces of any length.
pub(super) struct Scanner {
    /// What the stream is compressed to.
    form: Algorithm,
    /// The headers of the next member as far as they have come.
    headers: Vec<u8>,
    expect: Expect,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Expect {
    /// The rest of a header block.
    Header,
    /// So many bytes of an extended header, and its padding.
    Special(usize),
    /// So many bytes of data, and of padding after them.
    Data(u64, usize),
    Padding(usize),
    /// Whatever follows the end of the archive.
    Rest,
}

impl Scanner {
    pub(super) fn new(form: Algorithm) -> Self {
        Self {
            form,
            headers: Vec::new(),
            expect: Expect::Header,
        }
    }

    /// Takes the next part off the stream; with the last part of a member's headers also what they say.
    pub(super) fn next<'a>(
        &mut self,
        stream: &mut &'a [u8],
    ) -> io::Result<(Part<'a>, Option<Header>)> {
        match self.expect {
            Expect::Header => {
                let part = take(stream, BLOCK - self.headers.len() % BLOCK);
                self.headers.extend_from_slice(part);
                let complete = self.headers.len().is_multiple_of(BLOCK);
                let header = if complete { self.block()? } else { None };
                Ok((Part::Frame(part), header))
            }
            Expect::Special(left) => {
                let part = take(stream, left);
                self.headers.extend_from_slice(part);
                self.expect = match left - part.len() {
                    0 => Expect::Header,
                    left => Expect::Special(left),
                };
                Ok((Part::Frame(part), None))
            }
            Expect::Data(left, padding) => {
                let part = take(stream, usize::try_from(left).unwrap_or(usize::MAX));
                self.expect = after(left - part.len() as u64, padding);
                Ok((Part::Data(part), None))
            }
            Expect::Padding(left) => {
                let part = take(stream, left);
                self.expect = after(0, left - part.len());
                Ok((Part::Frame(part), None))
            }
            Expect::Rest => Ok((Part::Frame(std::mem::take(stream)), None)),
        }
    }

    /// Whether the stream may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self.expect {
            Expect::Rest => true,
            Expect::Header => self.headers.is_empty(),
            _ => false,
        }
    }

    /// Acts on a complete header block, the last of `self.headers`.
    fn block(&mut self) -> io::Result<Option<Header>> {
        let block = &self.headers[self.headers.len() - BLOCK..];
        if block.iter().all(|&byte| byte == 0) {
            self.expect = Expect::Rest;
            return Ok(None);
        }
        if block[TYPE] == b'g' && self.form == Algorithm::ZstdChunked {
            return Err(self.invalid("headers for a whole archive are not supported"));
        }
        if matches!(block[TYPE], b'x' | b'g' | b'L' | b'K') {
            let length = octal(&block[SIZE])
                .filter(|length| *length <= LONGEST_SPECIAL)
                .ok_or_else(|| self.invalid("an extended header has no proper size"))?
                as usize;
            if self.headers.len() > 4 * LONGEST_SPECIAL as usize {
                return Err(self.invalid("extended headers are too long"));
            }
            self.expect = match length {
                0 => Expect::Header,
                length => Expect::Special(length.next_multiple_of(BLOCK)),
            };
            return Ok(None);
        }
        let sparse = block[TYPE] == b'S';
        let mut reader = Reader::new(self.headers.as_slice());
        let header = loop {
            match reader.next_header()? {
                // Records for the whole archive say nothing that a table of contents has.
                Some(header) if header.kind.to_byte() == b'g' => {}
                Some(header) => break header,
                None => return Err(self.invalid("a member has no header")),
            }
        };
        if sparse
            || header
                .records
                .keys()
                .any(|key| key.starts_with(b"GNU.sparse."))
        {
            let reason = format!("is a sparse file, which {} cannot hold", self.form.name());
            return Err(unfit(self.form, &header, &reason));
        }
        self.headers.clear();
        let stored = if header.kind.is_header_only() {
            0
        } else {
            header.size
        };
        let padding = (stored.next_multiple_of(BLOCK as u64) - stored) as usize;
        self.expect = after(stored, padding);
        Ok(Some(header))
    }

    fn invalid(&self, reason: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "compress to {}: {reason}; is this a tar archive?",
                self.form.name()
            ),
        )
    }
}

fn after(data: u64, padding: usize) -> Expect {
    match (data, padding) {
        (0, 0) => Expect::Header,
        (0, padding) => Expect::Padding(padding),
        (data, padding) => Expect::Data(data, padding),
    }
}

/// Takes at most so many bytes off the front.
fn take<'a>(stream: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (part, rest) = stream.split_at(most.min(stream.len()));
    *stream = rest;
    part
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// An error about a member that a form with a table of contents cannot hold.
pub(super) fn unfit(form: Algorithm, header: &Header, reason: &str) -> io::Error {
    let name = String::from_utf8_lossy(&header.name);
    let plain = match form {
        Algorithm::ZstdChunked => Algorithm::Zstd,
        _ => Algorithm::Gzip,
    };
    let (form, plain) = (form.name(), plain.name());
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("compress to {form}: {name:?} {reason}; use compression={plain}"),
    )
}
