//! The skippable frames at the end of a zstd:chunked layer, and the annotations that say where they are.

use std::collections::BTreeMap;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::tar_split::Split;
use super::toc::sha256;

/// How much the tables are compressed.
pub(super) const TABLE_LEVEL: i32 = 3;

/// Annotation with the digest of the compressed table of contents, by which readers trust it.
pub(crate) const MANIFEST_CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
/// Annotation with its place, both lengths and kind.
const MANIFEST_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
/// Annotation with the place and both lengths of what is no file's data.
const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";

/// The only kind of table that there is.
const KIND: u64 = 1;
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// Magic and length of a skippable frame.
const FRAME_HEADER: u64 = 8;
const FOOTER_MAGIC: [u8; 8] = *b"GNUlInUx";

/// Writes everything that follows the tar, which ends at `offset`.
pub(super) fn write(
    sink: &mut impl Write,
    offset: u64,
    toc: &[u8],
    tar_split: &Split,
) -> io::Result<BTreeMap<String, String>> {
    let table = zstd::bulk::compress(toc, TABLE_LEVEL)?;
    let (length, full) = (table.len() as u64, toc.len() as u64);
    let begin = offset + FRAME_HEADER;
    skippable(sink, &table)?;
    let (split_length, split_full) = (tar_split.bytes.len() as u64, tar_split.length);
    let split_begin = begin + length + FRAME_HEADER;
    skippable(sink, &tar_split.bytes)?;
    let numbers = [
        begin,
        length,
        full,
        KIND,
        split_begin,
        split_length,
        split_full,
    ];
    let footer = numbers.into_iter().flat_map(u64::to_le_bytes);
    let footer: Vec<_> = footer.chain(FOOTER_MAGIC).collect();
    skippable(sink, &footer)?;
    Ok(BTreeMap::from([
        (
            MANIFEST_CHECKSUM.to_owned(),
            sha256(&Sha256::digest(&table)),
        ),
        (
            MANIFEST_POSITION.to_owned(),
            format!("{begin}:{length}:{full}:{KIND}"),
        ),
        (
            TAR_SPLIT_POSITION.to_owned(),
            format!("{split_begin}:{split_length}:{split_full}"),
        ),
    ]))
}

fn skippable(sink: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| {
        let message = "a layer with so many files cannot be zstd:chunked; use compression=zstd";
        io::Error::other(message)
    })?;
    sink.write_all(&SKIPPABLE)?;
    sink.write_all(&length.to_le_bytes())?;
    sink.write_all(bytes)
}
