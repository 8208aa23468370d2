//! Deletions: members named `.wh.NAME` and `.wh..wh..opq`, turned into overlayfs marks. They speak of the layers below
//! only, never of what the same layer brings, whichever comes first in the archive.

use std::io;

use super::Whiteouts;
use crate::path;
use crate::tree::{Extractor, FileKind, Spot};

const PREFIX: &[u8] = b".wh.";
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a member deletes.
pub(super) enum Deletion {
    /// Everything the layers below have in this directory.
    Contents(Vec<u8>),
    /// This path.
    Path(Vec<u8>),
    /// Nothing: a left-over of the file system that first had such marks.
    Nothing,
}

impl Deletion {
    /// The deletion that a member's name stands for, if it is one.
    pub(super) fn of(name: &[u8]) -> io::Result<Option<Self>> {
        let name = path::clean(&[b"/", name].concat());
        let (dir, base) = name.split_at(
            name.iter()
                .rposition(|&byte| byte == b'/')
                .map_or(0, |slash| slash + 1),
        );
        let Some(deleted) = base.strip_prefix(PREFIX) else {
            return Ok(None);
        };
        Ok(Some(match deleted {
            _ if base == OPAQUE => Self::Contents(path::clean(dir)),
            _ if base.starts_with(META_PREFIX) => Self::Nothing,
            b"" | b"." | b".." => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "invalid whiteout name",
                ));
            }
            deleted => Self::Path([dir, deleted].concat()),
        }))
    }
}

/// Puts a deletion on disk.
pub(super) fn mark(
    extractor: &mut Extractor<'_>,
    deletion: &Deletion,
    whiteouts: Whiteouts,
) -> io::Result<()> {
    match deletion {
        Deletion::Nothing => Ok(()),
        Deletion::Contents(dir) => make_opaque(
            &Spot {
                dir: extractor.directory(dir)?,
                name: c".".to_owned(),
            },
            whiteouts,
        ),
        Deletion::Path(path) => {
            let Some(spot) = extractor.spot(path)? else {
                return Ok(());
            };
            match spot.dir.find(&spot.name)? {
                None => {
                    spot.dir.make_node(&spot.name, FileKind::CharDevice, 0)?;
                    spot.dir.set_xattr(c".", whiteouts.origin(), b"")
                }
                // This layer brought a directory: it shall hide the one below, not join it.
                Some(existing) if existing.is_dir() => make_opaque(&spot, whiteouts),
                Some(_) => Ok(()),
            }
        }
    }
}

/// Hides what the layers below have in a directory.
pub(super) fn make_opaque(spot: &Spot, whiteouts: Whiteouts) -> io::Result<()> {
    spot.dir.set_xattr(&spot.name, whiteouts.opaque(), b"y")
}
