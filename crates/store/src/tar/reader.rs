//! Reading archives: bounded in every direction, and never trusting what it reads.

use std::io::{self, BufReader, Read};

use super::block::{self, BLOCK, Block, Dialect};
use super::header::{EntryKind, Format, Header, Timestamp};
use super::limits::{Limits, ReadError};
use super::sparse::{self, Segment};
use super::{number, pax};

/// A part of a member's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This many bytes were put into the buffer.
    Data(usize),
    /// This many zeros that the archive leaves out.
    Hole(u64),
    /// The member has no more data.
    End,
}

/// Reads members one after the other; `io::Read` yields the current member's data.
#[derive(Debug)]
pub struct Reader<R> {
    input: BufReader<R>,
    limits: Limits,
    offset: u64,
    entries: u64,
    total: u64,
    /// What is left of the current member as it expands, next part last.
    segments: Vec<Segment>,
    /// Stored bytes of the current member that were not read yet, and the padding behind them.
    stored: u64,
    padding: u64,
}

/// What extended headers say about the member that follows them.
#[derive(Default)]
struct Extended {
    records: pax::Records,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// A reader with the default limits.
    pub fn new(input: R) -> Self {
        Self::with_limits(input, Limits::default())
    }

    /// A reader with limits of the caller's.
    pub fn with_limits(input: R, limits: Limits) -> Self {
        Self {
            input: BufReader::with_capacity(128 << 10, input),
            limits,
            offset: 0,
            entries: 0,
            total: 0,
            segments: Vec::new(),
            stored: 0,
            padding: 0,
        }
    }

    /// Advances to the next member, or `None` at the end of the archive.
    pub fn next_header(&mut self) -> Result<Option<Header>, ReadError> {
        let mut extended = Extended::default();
        loop {
            self.skip_rest()?;
            let Some(block) = self.next_block()? else {
                return Ok(None);
            };
            self.entries += 1;
            self.check("members", self.entries, self.limits.entries)?;
            let mut header = self.parse_block(&block)?;
            match header.kind {
                EntryKind::Other(b'x') => {
                    let data = self.special(header.size)?;
                    extended.records =
                        pax::parse(&data).ok_or_else(|| self.bad("malformed PAX record"))?;
                }
                EntryKind::GlobalHeader => {
                    let data = self.special(header.size)?;
                    header.records =
                        pax::parse(&data).ok_or_else(|| self.bad("malformed PAX record"))?;
                    header.size = 0;
                    return Ok(Some(header));
                }
                EntryKind::Other(b'L') => {
                    extended.name = Some(block::text(&self.special(header.size)?).to_vec())
                }
                EntryKind::Other(b'K') => {
                    extended.link = Some(block::text(&self.special(header.size)?).to_vec())
                }
                _ => return self.member(header, &block, extended).map(Some),
            }
        }
    }

    /// The next part of the current member's data.
    pub fn next_piece(&mut self, buffer: &mut [u8]) -> Result<Piece, ReadError> {
        match self.segments.last_mut() {
            None => Ok(Piece::End),
            Some(Segment::Hole(length)) => {
                let length = *length;
                self.segments.pop();
                Ok(Piece::Hole(length))
            }
            Some(Segment::Data(left)) => {
                let want = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let read = match self.input.read(&mut buffer[..want]) {
                    Ok(0) if want > 0 => {
                        return Err(ReadError::Truncated {
                            offset: self.offset,
                        });
                    }
                    Ok(read) => read as u64,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                    Err(source) => {
                        return Err(ReadError::Io {
                            offset: self.offset,
                            source,
                        });
                    }
                };
                *left -= read;
                if *left == 0 {
                    self.segments.pop();
                }
                self.offset += read;
                self.stored -= read;
                Ok(Piece::Data(read as usize))
            }
        }
    }

    /// Reads the stream to its end, past the archive's end mark and whatever follows it, so that whoever hashes the
    /// stream has seen all of it.
    pub fn drain(mut self) -> Result<(), ReadError> {
        io::copy(&mut self.input, &mut io::sink())
            .map(drop)
            .map_err(|source| ReadError::Io {
                offset: self.offset,
                source,
            })
    }

    /// Completes a member: extended headers, then the layout of its data.
    fn member(
        &mut self,
        mut header: Header,
        block: &Block,
        extended: Extended,
    ) -> Result<Header, ReadError> {
        let old_gnu_sparse = header.kind == EntryKind::Other(b'S');
        pax::merge(&mut header, extended.records)
            .ok_or_else(|| self.bad("a PAX record has a malformed value"))?;
        if !header.records.is_empty() {
            header.format = Format::Pax;
        }
        header.name = extended.name.unwrap_or(header.name);
        header.link = extended.link.unwrap_or(header.link);
        // The oldest archives know directories only by their trailing slash.
        if block[block::TYPE] == 0 && header.name.ends_with(b"/") {
            header.kind = EntryKind::Directory;
        }
        self.stored = if header.kind.is_header_only() {
            0
        } else {
            header.size
        };
        self.padding = block::padding(self.stored);
        self.segments = vec![Segment::Data(self.stored)];
        if old_gnu_sparse {
            header.kind = EntryKind::File;
            let map = self.old_gnu_map(block)?;
            header.size = self
                .numeric(&block[block::GNU_REAL_SIZE])
                .and_then(|size| self.size(size))?;
            self.segments = self.layout(&map, header.size)?;
        } else if header.kind == EntryKind::File
            && let Some(form) = sparse::pax_form(&header.records)
        {
            let form = form.ok_or_else(|| self.bad("malformed sparse file records"))?;
            header.name = form.name.unwrap_or(header.name);
            let map = match form.map {
                Some(map) => map,
                None => self.sparse_map_in_data()?,
            };
            header.size = form.size.unwrap_or(header.size);
            self.segments = self.layout(&map, header.size)?;
        }
        self.segments.retain(|segment| segment.length() > 0);
        self.check(
            "bytes in one name",
            header.name.len().max(header.link.len()) as u64,
            self.limits.name_bytes as u64,
        )?;
        self.total = self.total.saturating_add(if header.kind.is_header_only() {
            0
        } else {
            header.size
        });
        self.check("bytes in all members", self.total, self.limits.total_bytes)?;
        Ok(header)
    }

    /// The parts of a sparse file in reverse, checked against what is stored.
    fn layout(&self, map: &[(u64, u64)], size: u64) -> Result<Vec<Segment>, ReadError> {
        sparse::segments(map, size, self.stored)
            .ok_or_else(|| self.bad("the map of a sparse file does not fit it"))
    }

    fn parse_block(&self, block: &Block) -> Result<Header, ReadError> {
        let dialect = block::dialect(block)
            .ok_or_else(|| self.bad("checksum does not match; is this a tar archive?"))?;
        let mut header = Header::new(
            block::text(&block[block::NAME]),
            EntryKind::from_byte(block[block::TYPE]),
        );
        header.link = block::text(&block[block::LINK]).to_vec();
        header.mode = self.numeric(&block[block::MODE])?;
        header.uid = self.numeric(&block[block::UID])?;
        header.gid = self.numeric(&block[block::GID])?;
        header.size = self
            .numeric(&block[block::SIZE])
            .and_then(|size| self.size(size))?;
        header.mtime = Timestamp::seconds(self.numeric(&block[block::MTIME])?);
        if dialect == Dialect::V7 {
            return Ok(header);
        }
        header.user_name = block::text(&block[block::USER]).to_vec();
        header.group_name = block::text(&block[block::GROUP]).to_vec();
        header.dev_major = self.numeric(&block[block::DEV_MAJOR])?;
        header.dev_minor = self.numeric(&block[block::DEV_MINOR])?;
        let prefix = match dialect {
            Dialect::Ustar => block::text(&block[block::PREFIX]),
            Dialect::Star => block::text(&block[block::STAR_PREFIX]),
            Dialect::Gnu => {
                let time = |field| {
                    number::parse(field)
                        .filter(|&time| time != 0)
                        .map(Timestamp::seconds)
                };
                header.atime = time(&block[block::GNU_ATIME]);
                header.ctime = time(&block[block::GNU_CTIME]);
                b""
            }
            Dialect::V7 => b"",
        };
        if !prefix.is_empty() {
            header.name = [prefix, b"/", &header.name].concat();
        }
        Ok(header)
    }

    /// The next header block, or `None` at the end mark or the end of the stream.
    fn next_block(&mut self) -> Result<Option<Block>, ReadError> {
        let Some(block) = self.read_block()? else {
            return Ok(None);
        };
        if block.iter().any(|&byte| byte != 0) {
            return Ok(Some(block));
        }
        match self.read_block()? {
            Some(second) if second.iter().any(|&byte| byte != 0) => {
                Err(self.bad("one block of zeros among members"))
            }
            _ => Ok(None),
        }
    }

    fn read_block(&mut self) -> Result<Option<Block>, ReadError> {
        let mut block = [0; BLOCK];
        match self.read_up_to(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(ReadError::Truncated {
                offset: self.offset,
            }),
        }
    }

    fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ReadError::Io {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    /// The whole data of an extended header.
    fn special(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        self.check(
            "bytes in one extended header",
            size,
            self.limits.special_bytes,
        )?;
        let mut data = vec![0; size as usize];
        if self.read_up_to(&mut data)? < data.len() {
            return Err(ReadError::Truncated {
                offset: self.offset,
            });
        }
        self.padding = block::padding(size);
        Ok(data)
    }

    /// Skips what was not read of the member before.
    fn skip_rest(&mut self) -> Result<(), ReadError> {
        self.segments.clear();
        let rest = std::mem::take(&mut self.stored);
        // Writers may leave out the padding after the last member.
        let skipped = self.skip(rest)?;
        if skipped < rest {
            return Err(ReadError::Truncated {
                offset: self.offset,
            });
        }
        let padding = std::mem::take(&mut self.padding);
        self.skip(padding).map(drop)
    }

    fn skip(&mut self, length: u64) -> Result<u64, ReadError> {
        let skipped =
            io::copy(&mut self.input.by_ref().take(length), &mut io::sink()).map_err(|source| {
                ReadError::Io {
                    offset: self.offset,
                    source,
                }
            })?;
        self.offset += skipped;
        Ok(skipped)
    }

    fn old_gnu_map(&mut self, block: &Block) -> Result<Vec<(u64, u64)>, ReadError> {
        let mut map = Vec::new();
        let mut more = block[block::GNU_SPARSE_MORE] != 0;
        self.map_entries(&block[block::GNU_SPARSE], &mut map)?;
        while more {
            let next = self.read_block()?.ok_or(ReadError::Truncated {
                offset: self.offset,
            })?;
            more = next[block::GNU_SPARSE_NEXT_MORE] != 0;
            self.map_entries(&next[block::GNU_SPARSE_NEXT], &mut map)?;
            self.check(
                "bytes in one sparse map",
                map.len() as u64 * 16,
                self.limits.special_bytes,
            )?;
        }
        Ok(map)
    }

    fn map_entries(&self, entries: &[u8], map: &mut Vec<(u64, u64)>) -> Result<(), ReadError> {
        for entry in entries.chunks_exact(block::GNU_SPARSE_ENTRY) {
            if entry[0] == 0 {
                break;
            }
            let (offset, length) = entry.split_at(12);
            let number = |field| self.numeric(field).and_then(|number| self.size(number));
            map.push((number(offset)?, number(length)?));
        }
        Ok(())
    }

    /// The map at the start of the data: a count, then offsets and lengths, one a line, filled up to a block.
    fn sparse_map_in_data(&mut self) -> Result<Vec<(u64, u64)>, ReadError> {
        let mut text = Vec::new();
        loop {
            match sparse::parse_data_map(&text) {
                sparse::DataMap::Complete(map) => return Ok(map),
                sparse::DataMap::Malformed => {
                    return Err(self.bad("malformed map of a sparse file"));
                }
                sparse::DataMap::Partial => {}
            }
            self.check(
                "bytes in one sparse map",
                text.len() as u64,
                self.limits.special_bytes,
            )?;
            // Growing by doubling keeps parsing it again cheap.
            let grow =
                (text.len().max(BLOCK) as u64).min(self.stored / BLOCK as u64 * BLOCK as u64);
            if grow == 0 {
                return Err(self.bad("the map of a sparse file is cut off"));
            }
            let blocks = sparse::map_blocks_needed(&text)
                .unwrap_or(grow / BLOCK as u64)
                .min(grow / BLOCK as u64)
                .max(1);
            for _ in 0..blocks {
                let block = self.read_block()?.ok_or(ReadError::Truncated {
                    offset: self.offset,
                })?;
                self.stored -= BLOCK as u64;
                text.extend_from_slice(&block);
            }
        }
    }

    fn numeric(&self, field: &[u8]) -> Result<i64, ReadError> {
        number::parse(field).ok_or_else(|| self.bad("malformed number"))
    }

    fn size(&self, size: i64) -> Result<u64, ReadError> {
        u64::try_from(size).map_err(|_| self.bad("negative size"))
    }

    fn check(&self, what: &'static str, value: u64, limit: u64) -> Result<(), ReadError> {
        if value > limit {
            Err(ReadError::Limit {
                what,
                limit,
                offset: self.offset,
            })
        } else {
            Ok(())
        }
    }

    fn bad(&self, reason: &'static str) -> ReadError {
        ReadError::Header {
            offset: self.offset,
            reason,
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.next_piece(buffer)? {
                Piece::Data(0) if !buffer.is_empty() => {}
                Piece::Data(length) => return Ok(length),
                Piece::End => return Ok(0),
                Piece::Hole(hole) => {
                    let length = usize::try_from(hole)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    buffer[..length].fill(0);
                    if hole > length as u64 {
                        self.segments.push(Segment::Hole(hole - length as u64));
                    }
                    return Ok(length);
                }
            }
        }
    }
}
