//! What is where in an archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use kiln_store::tar::{EntryKind, Reader};

pub(super) const BLOCK: u64 = 512;
const BLOBS: &[u8] = b"blobs/sha256/";
const INDEX: &[u8] = b"index.json";
/// The files that name what is in the blobs. They are the last ones.
const NAMING: [&[u8]; 3] = [INDEX, b"manifest.json", b"oci-layout"];
/// A limit on archives from elsewhere.
const LIMIT: usize = 1 << 20;

/// The members of an archive that has its blobs first and what names them last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members {
    /// Blobs by the hexadecimal digits of their digests.
    pub(super) blobs: BTreeMap<String, Data>,
    /// `index.json`.
    pub(super) index: Data,
    /// Where what names the blobs begins.
    pub(super) naming: u64,
    /// Where the end mark begins.
    pub(super) end: u64,
}

/// Where a member's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Data {
    /// Reads all of it, if it is not too long for that.
    pub(super) fn read(self, file: &File, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = usize::try_from(self.size.min(limit + 1)).ok() else {
            return Ok(None);
        };
        if self.size > limit {
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, self.offset)?;
        Ok(Some(bytes))
    }
}

/// Looks at the archive that begins at an offset of a file, without reading its data. `None` is one of another form.
pub(super) fn members(file: &File, begin: u64) -> io::Result<Option<Members>> {
    let length = file.metadata()?.len();
    let mut blobs = BTreeMap::new();
    let (mut naming, mut index) = (None, None);
    let mut offset = begin;
    for _ in 0..LIMIT {
        let mut block = [0; BLOCK as usize];
        if offset + BLOCK > length {
            return Ok(None);
        }
        file.read_exact_at(&mut block, offset)?;
        if block == [0; BLOCK as usize] {
            let found = naming.zip(index).map(|(naming, index)| Members {
                blobs,
                index,
                naming,
                end: offset,
            });
            return Ok(found);
        }
        // Extended headers are never needed for such names and sizes.
        let Ok(Some(header)) = Reader::new(&block[..]).next_header() else {
            return Ok(None);
        };
        let data = Data {
            offset: offset + BLOCK,
            size: header.size,
        };
        let is_naming = NAMING.contains(&&*header.name);
        match header.kind {
            EntryKind::Directory if naming.is_none() => {}
            EntryKind::File if is_naming => {
                naming.get_or_insert(offset);
                if header.name == INDEX {
                    index = Some(data);
                }
            }
            EntryKind::File if naming.is_none() => {
                let Some(digest) = header.name.strip_prefix(BLOBS) else {
                    return Ok(None);
                };
                blobs.insert(String::from_utf8_lossy(digest).into_owned(), data);
            }
            _ => return Ok(None),
        }
        let next = header.size.checked_next_multiple_of(BLOCK);
        let next = next.and_then(|size| data.offset.checked_add(size));
        match next {
            Some(next) => offset = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}
