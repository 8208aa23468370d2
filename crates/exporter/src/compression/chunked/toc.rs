//! The table of contents of a zstd:chunked layer.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_store::tar::{EntryKind, Header, Timestamp};
use serde::Serialize;

use super::tar_split::Split;
use crate::compression::Algorithm;
use crate::compression::pool::PackedChunk;
use crate::compression::scan::unfit;

/// What is known of the members so far.
#[derive(Default)]
pub(super) struct Toc {
    entries: Vec<Entry>,
    names: HashSet<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Complete<'a> {
    version: u32,
    entries: &'a [Entry],
    tar_split_digest: &'a str,
}

/// A member, or a further chunk of one. Fields are left out where the format says that nothing means zero.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    r#type: &'static str,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: i64,
    #[serde(skip_serializing_if = "is_zero")]
    size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: i64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accesstime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changetime: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: i64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    offset: i64,
    #[serde(skip_serializing_if = "is_zero")]
    end_offset: i64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    chunk_digest: String,
    /// Whether a chunk begins with it.
    #[serde(skip)]
    has_data: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Toc {
    /// Adds a member.
    pub(super) fn member(&mut self, header: &Header) -> io::Result<()> {
        let unfit = |reason| unfit(Algorithm::ZstdChunked, header, reason);
        let r#type = match header.kind {
            EntryKind::File => "reg",
            EntryKind::HardLink => "hardlink",
            EntryKind::Symlink => "symlink",
            EntryKind::CharDevice => "char",
            EntryKind::BlockDevice => "block",
            EntryKind::Directory => "dir",
            EntryKind::Fifo => "fifo",
            EntryKind::GlobalHeader | EntryKind::Other(_) => {
                return Err(unfit("is of a kind that zstd:chunked does not have"));
            }
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let name = text(&header.name).map_err(|_| unfit("has a name that is no Unicode"))?;
        let link = text(&header.link).map_err(|_| unfit("has a target that is no Unicode"))?;
        // Readers look members up by their names.
        let parts = Path::new(&name).components();
        let clean = parts.filter(|part| *part != Component::CurDir).collect();
        if !self.names.insert(clean) {
            return Err(unfit("is there twice"));
        }
        let xattrs = header.xattrs().map(|(name, value)| {
            let name = text(name).map_err(|_| unfit("has an attribute that is no Unicode"))?;
            Ok((name, BASE64_STANDARD.encode(value)))
        });
        self.entries.push(Entry {
            r#type,
            name,
            link_name: link,
            mode: header.mode,
            size: match header.kind {
                EntryKind::File => header.size.cast_signed(),
                _ => 0,
            },
            uid: header.uid,
            gid: header.gid,
            modtime: time(header.mtime),
            accesstime: header.atime.and_then(time),
            changetime: header.ctime.and_then(time),
            dev_major: header.dev_major,
            dev_minor: header.dev_minor,
            xattrs: xattrs.collect::<io::Result<_>>()?,
            ..Entry::default()
        });
        Ok(())
    }

    /// Notes that a chunk of this size begins at `begin` of the last member's data.
    pub(super) fn chunk(&mut self, begin: u64, size: u64) {
        if begin > 0 {
            let name = self.entries.last().map(|last| last.name.clone());
            self.entries.push(Entry {
                name: name.unwrap_or_default(),
                r#type: "chunk",
                chunk_offset: begin.cast_signed(),
                ..Entry::default()
            });
        }
        if let Some(entry) = self.entries.last_mut() {
            entry.has_data = true;
            entry.chunk_size = size.cast_signed();
        }
    }

    /// Sets the digest of the file whose chunks came last; one of a single chunk gets it from that.
    pub(super) fn digest(&mut self, digest: &[u8]) {
        if let Some(file) = self.entries.iter_mut().rfind(|entry| entry.r#type == "reg") {
            file.digest = sha256(digest);
        }
    }

    /// The table as JSON, with the chunks where they were written, in order.
    pub(super) fn complete(
        mut self,
        chunks: &[PackedChunk],
        tar_split: &Split,
    ) -> io::Result<Vec<u8>> {
        let with_data = self.entries.iter_mut().filter(|entry| entry.has_data);
        for (entry, chunk) in with_data.zip(chunks) {
            entry.offset = chunk.offset.cast_signed();
            entry.end_offset = chunk.end.cast_signed();
            entry.chunk_digest = sha256(&chunk.digest);
        }
        self.settle_files();
        let complete = Complete {
            version: 1,
            entries: &self.entries,
            tar_split_digest: &tar_split.digest,
        };
        serde_json::to_vec(&complete).map_err(io::Error::other)
    }

    /// A file ends where its last chunk does; one of a single chunk has no chunks.
    fn settle_files(&mut self) {
        let mut end = None;
        for entry in self.entries.iter_mut().rev() {
            match (entry.r#type, end) {
                ("chunk", None) => end = Some(entry.end_offset),
                ("chunk", Some(_)) => entry.end_offset = 0,
                (_, Some(last)) => {
                    entry.end_offset = last;
                    end = None;
                }
                (_, None) if entry.has_data => {
                    entry.digest = std::mem::take(&mut entry.chunk_digest);
                    entry.chunk_size = 0;
                }
                (_, None) => {}
            }
        }
    }
}

/// A moment as RFC 3339; years that it cannot say are left out.
fn time(moment: Timestamp) -> Option<String> {
    let nanos = i32::try_from(moment.nanos).ok()?;
    let moment = jiff::Timestamp::new(moment.seconds, nanos).ok()?;
    let text = moment.to_string();
    (!text.starts_with('-')).then_some(text)
}

pub(super) fn sha256(digest: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest))
}
