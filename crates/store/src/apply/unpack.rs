//! The unpacking loop.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::whiteout::{self, Deletion};
use super::{ApplyError, Ownership, UnpackOptions, Unpacked};
use crate::tar::{EntryKind, Header, Reader};
use crate::tree::{ExtractOwner, Extractor, Root};

/// Unpacks a layer into `dest`, an upper directory that is empty or was given to no one yet. Reads the stream to its
/// very end, also past the archive's end mark, so that a hashing reader sees every byte. Nothing outside `dest` can be
/// reached by it, whatever the archive says.
///
/// # Errors
/// The archive is malformed or exceeds the limits, or the kernel refuses; what was unpacked until then stays.
pub fn unpack_layer(
    archive: impl Read,
    dest: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked, ApplyError> {
    let root = Root::open(dest)?;
    let owner = match options.ownership {
        Ownership::Archive => ExtractOwner::Archive,
        Ownership::Process => ExtractOwner::Process,
    };
    let mut extractor = Extractor::new(&root, owner);
    let mut reader = Reader::with_limits(archive, options.limits);
    let mut unpacked = Unpacked::default();
    while let Some(header) = reader.next_header()? {
        unpacked.entries += 1;
        if !header.kind.is_header_only() {
            unpacked.size += header.size;
        }
        unpack_member(&mut extractor, &header, &mut reader, options).map_err(|source| {
            ApplyError::Member {
                path: to_path(header.name.clone()),
                source,
            }
        })?;
    }
    reader.drain()?;
    let implied = extractor.finish().map_err(|source| ApplyError::Member {
        path: PathBuf::from("/"),
        source,
    })?;
    unpacked.implied = implied
        .into_iter()
        .map(|path| to_path(path[1..].to_vec()))
        .collect();
    Ok(unpacked)
}

fn unpack_member(
    extractor: &mut Extractor<'_>,
    header: &Header,
    reader: &mut Reader<impl Read>,
    options: &UnpackOptions,
) -> io::Result<()> {
    if header.kind == EntryKind::GlobalHeader {
        return Ok(());
    }
    match Deletion::of(&header.name)? {
        Some(deletion) => whiteout::mark(extractor, &deletion, options.whiteouts),
        None => {
            let Some(spot) = extractor.spot(&header.name)? else {
                return Ok(());
            };
            // A directory that this layer deletes and makes again must not show what is below.
            let replaces = header.kind == EntryKind::Directory
                && spot
                    .dir
                    .find(&spot.name)?
                    .is_some_and(|existing| existing.is_whiteout());
            extractor.member(header, &spot, reader)?;
            if replaces {
                whiteout::make_opaque(&spot, options.whiteouts)?;
            }
            Ok(())
        }
    }
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
