//! Writing archives, choosing each header's form as Go's `archive/tar` does.

use std::io::{self, Read, Write};

use super::block::{self, BLOCK, Block};
use super::header::{EntryKind, Format, Header, Timestamp};
use super::{number, pax};

/// The largest extended header that readers accept.
const MAX_RECORDS: usize = 1 << 20;

/// Why a member cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Writing the stream failed.
    #[error("write archive: {0}")]
    Io(#[from] io::Error),
    /// The header holds something that no header form can say.
    #[error("write archive: {name:?}: {reason}")]
    Unencodable {
        /// The member.
        name: String,
        /// What cannot be said.
        reason: &'static str,
    },
    /// The data is not as long as the header says.
    #[error(
        "write archive: {name:?} has {missing} bytes less than its header says; did it change while it was read?"
    )]
    Short {
        /// The member.
        name: String,
        /// Bytes that did not come.
        missing: u64,
    },
}

/// Writes members one after the other; after a file's header its data goes in through `io::Write`.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    name: Vec<u8>,
    /// Data bytes the current member still needs.
    remaining: u64,
    padding: u64,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(output: W) -> Self {
        Self {
            output,
            name: Vec::new(),
            remaining: 0,
            padding: 0,
            written: 0,
        }
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Closes the member before and writes the next one's header.
    pub fn header(&mut self, header: &Header) -> Result<(), WriteError> {
        self.close_member()?;
        let rounded;
        let header = match header.format {
            Format::Any => {
                rounded = Header {
                    mtime: header.mtime.rounded(),
                    atime: None,
                    ctime: None,
                    ..header.clone()
                };
                &rounded
            }
            Format::Pax => header,
        };
        match Plan::of(header)? {
            Plan::Ustar => self.ustar(header),
            Plan::Pax(records) => self.pax(header, &records),
        }
    }

    /// Writes a member with its data, which must be exactly `header.size` bytes.
    pub fn entry(&mut self, header: &Header, data: impl Read) -> Result<(), WriteError> {
        self.header(header)?;
        io::copy(&mut data.take(self.remaining), self)?;
        self.close_member()
    }

    /// Writes the end of the archive and gives the stream back.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.close_member()?;
        self.put(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn close_member(&mut self) -> Result<(), WriteError> {
        if self.remaining > 0 {
            return Err(WriteError::Short {
                name: lossy(&self.name),
                missing: self.remaining,
            });
        }
        let padding = std::mem::take(&mut self.padding) as usize;
        self.put(&[0; BLOCK][..padding])?;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn ustar(&mut self, header: &Header) -> Result<(), WriteError> {
        let (prefix, name) = split_name(&header.name).unwrap_or((&[], &header.name));
        let mut block = template(
            header,
            name,
            &header.link,
            &header.user_name,
            &header.group_name,
        );
        put_text(&mut block[block::PREFIX], prefix);
        self.block(block, header.kind, header.size, &header.name)
    }

    fn pax(&mut self, header: &Header, records: &pax::Records) -> Result<(), WriteError> {
        let global = header.kind == EntryKind::GlobalHeader;
        if !records.is_empty() || global {
            let mut data = Vec::new();
            for (key, value) in records {
                pax::format_record(&mut data, key, value);
            }
            if data.len() > MAX_RECORDS {
                return Err(unencodable(header, "its PAX records exceed 1 MiB"));
            }
            let (name, kind) = match (global, header.name.is_empty()) {
                (true, true) => (b"GlobalHead.0.0".to_vec(), header.kind),
                (true, false) => (header.name.clone(), header.kind),
                (false, _) => (records_name(&header.name), EntryKind::Other(b'x')),
            };
            self.records(&name, kind, &data)?;
        }
        if global {
            return Ok(());
        }
        let ascii = |text: &[u8]| to_ascii(text);
        let block = template(
            header,
            &ascii(&header.name),
            &ascii(&header.link),
            &ascii(&header.user_name),
            &ascii(&header.group_name),
        );
        self.block(block, header.kind, header.size, &header.name)
    }

    /// Writes the member that carries PAX records.
    fn records(&mut self, name: &[u8], kind: EntryKind, data: &[u8]) -> Result<(), WriteError> {
        let name = to_ascii(name);
        let cut = &name[..name.len().min(block::NAME.len())];
        let cut = &cut[..cut
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1)];
        let mut block = [0; BLOCK];
        block[block::TYPE] = kind.to_byte();
        put_text(&mut block[block::NAME], cut);
        for field in [block::MODE, block::UID, block::GID, block::MTIME] {
            number::format_octal(&mut block[field], 0);
        }
        number::format_octal(&mut block[block::SIZE], data.len() as i64);
        self.block(block, EntryKind::File, data.len() as u64, cut)?;
        self.write_all(data)?;
        self.close_member()
    }

    fn block(
        &mut self,
        mut block: Block,
        kind: EntryKind,
        size: u64,
        name: &[u8],
    ) -> Result<(), WriteError> {
        block[block::MAGIC].copy_from_slice(block::MAGIC_USTAR);
        let (sum, _) = block::checksums(&block);
        number::format_octal(
            &mut block[block::CHECKSUM.start..block::CHECKSUM.end - 1],
            sum,
        );
        block[block::CHECKSUM.end - 1] = b' ';
        self.put(&block)?;
        self.name = name.to_vec();
        self.remaining = if kind.is_header_only() { 0 } else { size };
        self.padding = block::padding(self.remaining);
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(data.len());
        if length == 0 && !data.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                "archive member is already as long as its header says",
            ));
        }
        let length = self.output.write(&data[..length])?;
        self.remaining -= length as u64;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// The form that a header takes.
enum Plan {
    Ustar,
    Pax(pax::Records),
}

impl Plan {
    fn of(header: &Header) -> Result<Self, WriteError> {
        let mut form = Form {
            records: pax::Records::new(),
            ustar: true,
            header,
        };
        form.text(&header.name, block::NAME.len(), b"path");
        form.text(&header.link, block::LINK.len(), b"linkpath");
        form.text(&header.user_name, block::USER.len(), b"uname");
        form.text(&header.group_name, block::GROUP.len(), b"gname");
        let size = i64::try_from(header.size)
            .map_err(|_| unencodable(header, "its size exceeds 8 EiB"))?;
        form.number(header.uid, block::UID.len(), b"uid");
        form.number(header.gid, block::GID.len(), b"gid");
        form.number(size, block::SIZE.len(), b"size");
        for (value, width) in [
            (header.mode, block::MODE.len()),
            (header.dev_major, block::DEV_MAJOR.len()),
            (header.dev_minor, block::DEV_MINOR.len()),
        ] {
            if !number::fits_octal(width, value) {
                return Err(unencodable(
                    header,
                    "its mode or device number is out of range",
                ));
            }
        }
        form.mtime(header.mtime);
        form.time(header.atime, b"atime");
        form.time(header.ctime, b"ctime");
        form.finish()
    }
}

/// Decides between USTAR and PAX, collecting the records that PAX would need.
struct Form<'a> {
    records: pax::Records,
    ustar: bool,
    header: &'a Header,
}

impl Form<'_> {
    fn text(&mut self, value: &[u8], width: usize, key: &[u8]) {
        if !is_ascii(value) || value.len() > width {
            // Only a path may be split over two fields.
            self.ustar &= key == b"path" && split_name(value).is_some();
            self.records.insert(key.to_vec(), value.to_vec());
        }
        self.keep(key, value);
    }

    fn number(&mut self, value: i64, width: usize, key: &[u8]) {
        if !number::fits_octal(width, value) {
            self.ustar = false;
            self.records
                .insert(key.to_vec(), value.to_string().into_bytes());
        }
        self.keep(key, value.to_string().as_bytes());
    }

    fn mtime(&mut self, time: Timestamp) {
        let fits = number::fits_octal(block::MTIME.len(), time.seconds);
        if !fits || time.nanos != 0 {
            self.ustar = false;
            self.records
                .insert(b"mtime".to_vec(), pax::format_time(time).into_bytes());
        }
    }

    fn time(&mut self, time: Option<Timestamp>, key: &[u8]) {
        if let Some(time) = time {
            self.ustar = false;
            self.records
                .insert(key.to_vec(), pax::format_time(time).into_bytes());
        }
    }

    /// A record that came with the header and says the same as the field stays.
    fn keep(&mut self, key: &[u8], value: &[u8]) {
        if self
            .header
            .records
            .get(key)
            .is_some_and(|record| record == value)
        {
            self.records.insert(key.to_vec(), value.to_vec());
        }
    }

    fn finish(mut self) -> Result<Plan, WriteError> {
        let header = self.header;
        let nameable = !matches!(
            header.kind,
            EntryKind::File | EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo
        );
        if header.name.ends_with(b"/") && !nameable {
            return Err(unencodable(
                header,
                "only the name of a directory may end in a slash",
            ));
        }
        let global = header.kind == EntryKind::GlobalHeader;
        for (key, value) in &header.records {
            let passed_on = global || !pax::is_basic(key) && !key.starts_with(pax::SPARSE_PREFIX);
            if passed_on && !self.records.contains_key(key) {
                self.records.insert(key.clone(), value.clone());
            }
        }
        if let Some((key, _)) = self
            .records
            .iter()
            .find(|(key, value)| !pax::is_valid(key, value))
        {
            let reason = if pax::is_basic(key) {
                "it has a NUL in a name"
            } else {
                "it has an invalid PAX key"
            };
            return Err(unencodable(header, reason));
        }
        let plain = self.ustar && header.records.is_empty() && !global;
        Ok(if plain {
            Plan::Ustar
        } else {
            Plan::Pax(self.records)
        })
    }
}

fn template(header: &Header, name: &[u8], link: &[u8], user: &[u8], group: &[u8]) -> Block {
    let mut block = [0; BLOCK];
    block[block::TYPE] = header.kind.to_byte();
    put_text(&mut block[block::NAME], name);
    put_text(&mut block[block::LINK], link);
    put_text(&mut block[block::USER], user);
    put_text(&mut block[block::GROUP], group);
    number::format_octal(&mut block[block::MODE], header.mode);
    number::format_octal(&mut block[block::UID], header.uid);
    number::format_octal(&mut block[block::GID], header.gid);
    number::format_octal(
        &mut block[block::SIZE],
        i64::try_from(header.size).unwrap_or(0),
    );
    number::format_octal(&mut block[block::MTIME], header.mtime.seconds);
    number::format_octal(&mut block[block::DEV_MAJOR], header.dev_major);
    number::format_octal(&mut block[block::DEV_MINOR], header.dev_minor);
    block
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    // Some readers take a cut name that happens to end in a slash for a directory.
    if text.len() > field.len() && field[field.len() - 1] == b'/' {
        let end = field[..field.len() - 1]
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1);
        field[end] = 0;
    }
}

/// Splits a long name at a slash into USTAR's prefix and name fields.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= block::NAME.len() || !is_ascii(name) {
        return None;
    }
    let window = if name.len() > block::PREFIX.len() + 1 {
        block::PREFIX.len() + 1
    } else if name.ends_with(b"/") {
        name.len() - 1
    } else {
        name.len()
    };
    let slash = name[..window].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    let fits = slash > 0
        && slash <= block::PREFIX.len()
        && !rest.is_empty()
        && rest.len() <= block::NAME.len();
    fits.then_some((prefix, rest))
}

/// The name of the member that carries a file's records: `dir/PaxHeaders.0/file`, cleaned.
fn records_name(name: &[u8]) -> Vec<u8> {
    let slash = name
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |at| at + 1);
    let (dir, file) = name.split_at(slash);
    crate::path::clean(&[dir, b"/PaxHeaders.0/", file].concat()[usize::from(dir.is_empty())..])
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte != 0 && byte < 0x80)
}

fn to_ascii(text: &[u8]) -> Vec<u8> {
    text.iter()
        .copied()
        .filter(|&byte| byte != 0 && byte < 0x80)
        .collect()
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn unencodable(header: &Header, reason: &'static str) -> WriteError {
    WriteError::Unencodable {
        name: lossy(&header.name),
        reason,
    }
}
