//! The table of contents of an eStargz.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_store::tar::{EntryKind, Header, Timestamp};
use serde::Serialize;

use crate::compression::Algorithm;
use crate::compression::pool::PackedChunk;
use crate::compression::scan::unfit;

/// Name of the table's own member.
pub(super) const NAME: &str = "stargz.index.json";

/// Digest of a file without data.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is known of the members so far.
pub(super) struct Toc {
    version: u32,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Complete<'a> {
    version: u32,
    entries: &'a [Entry],
}

/// A member, or a further chunk of one. Fields are left out where the format says that nothing means zero.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_major: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_minor: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Toc {
    pub(super) fn new() -> Self {
        Self {
            version: 1,
            entries: Vec::new(),
        }
    }

    /// Adds a member.
    pub(super) fn member(&mut self, header: &Header) -> io::Result<()> {
        let r#type = match header.kind {
            EntryKind::File => "reg",
            EntryKind::HardLink => "hardlink",
            EntryKind::Symlink => "symlink",
            EntryKind::CharDevice => "char",
            EntryKind::BlockDevice => "block",
            EntryKind::Directory => "dir",
            EntryKind::Fifo => "fifo",
            EntryKind::GlobalHeader | EntryKind::Other(_) => {
                return Err(unfit(
                    Algorithm::Estargz,
                    header,
                    "is of a kind that estargz does not have",
                ));
            }
        };
        if is_table(&header.name) {
            let reason = "has the name of estargz's own index";
            return Err(unfit(Algorithm::Estargz, header, reason));
        }
        let is = |kinds: &[EntryKind]| kinds.contains(&header.kind);
        let link = is(&[EntryKind::HardLink, EntryKind::Symlink]);
        let device = is(&[EntryKind::CharDevice, EntryKind::BlockDevice]);
        let file = is(&[EntryKind::File]);
        self.entries.push(Entry {
            name: text(&header.name),
            r#type,
            size: if file { header.size } else { 0 },
            modtime: time(header.mtime.rounded()),
            link_name: link.then(|| text(&header.link)),
            mode: Some(header.mode),
            uid: Some(header.uid),
            gid: Some(header.gid),
            user_name: text(&header.user_name),
            group_name: text(&header.group_name),
            dev_major: device.then_some(header.dev_major),
            dev_minor: device.then_some(header.dev_minor),
            xattrs: header
                .xattrs()
                .map(|(name, value)| (text(name), BASE64_STANDARD.encode(value)))
                .collect(),
            digest: (file && header.size == 0).then(|| EMPTY.to_owned()),
            ..Entry::default()
        });
        Ok(())
    }

    /// Notes that a chunk begins at `begin` of the last member's data. `size` is 0 for its last chunk.
    pub(super) fn chunk(&mut self, begin: u64, size: u64) {
        if begin > 0 {
            let name = self.entries.last().map(|last| last.name.clone());
            self.entries.push(Entry {
                name: name.unwrap_or_default(),
                r#type: "chunk",
                chunk_offset: begin,
                ..Entry::default()
            });
        }
        if let Some(entry) = self.entries.last_mut() {
            entry.chunk_size = size;
            // Filled in when the chunk has been written.
            entry.offset = Some(0);
        }
    }

    /// Sets the digest of the file whose chunks came last; one of a single chunk gets it from that.
    pub(super) fn digest(&mut self, digest: &[u8]) {
        if let Some(file) = self.entries.iter_mut().rfind(|entry| entry.r#type == "reg") {
            file.digest = Some(sha256(digest));
        }
    }

    /// The table as JSON, with the chunks where they were written, in order.
    pub(super) fn complete(mut self, chunks: &[PackedChunk]) -> io::Result<Vec<u8>> {
        let with_data = self
            .entries
            .iter_mut()
            .filter(|entry| entry.offset.is_some());
        for (entry, chunk) in with_data.zip(chunks) {
            let digest = sha256(&chunk.digest);
            entry.offset = Some(chunk.offset);
            if entry.r#type == "reg" && entry.digest.is_none() {
                entry.digest = Some(digest.clone());
            }
            entry.chunk_digest = Some(digest);
        }
        let complete = Complete {
            version: self.version,
            entries: &self.entries,
        };
        serde_json::to_vec(&complete).map_err(io::Error::other)
    }
}

/// Whether a name leads to the table's own place.
fn is_table(name: &[u8]) -> bool {
    let mut parts = name
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."));
    parts.next() == Some(NAME.as_bytes()) && parts.next().is_none()
}

/// JSON has only Unicode; what is none is shown as the field's other writers show it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A moment as RFC 3339; 1970 itself and years that it cannot say are left out.
fn time(moment: Timestamp) -> Option<String> {
    let seconds = Some(moment.seconds).filter(|seconds| *seconds != 0)?;
    let moment = jiff::Timestamp::from_second(seconds).ok()?;
    let text = moment.to_string();
    (!text.starts_with('-')).then_some(text)
}

pub(super) fn sha256(digest: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest))
}
