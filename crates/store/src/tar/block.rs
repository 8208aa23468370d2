//! The 512-byte header block and the places of its fields.

use std::ops::Range;

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const USER: Range<usize> = 265..297;
pub(super) const GROUP: Range<usize> = 297..329;
pub(super) const DEV_MAJOR: Range<usize> = 329..337;
pub(super) const DEV_MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

/// Old star archives have a shorter prefix and their own trailer.
pub(super) const STAR_PREFIX: Range<usize> = 345..476;
pub(super) const STAR_TRAILER: Range<usize> = 508..512;

pub(super) const GNU_ATIME: Range<usize> = 345..357;
pub(super) const GNU_CTIME: Range<usize> = 357..369;
pub(super) const GNU_SPARSE: Range<usize> = 386..482;
pub(super) const GNU_SPARSE_MORE: usize = 482;
pub(super) const GNU_REAL_SIZE: Range<usize> = 483..495;

/// A continuation block of an old GNU sparse map.
pub(super) const GNU_SPARSE_NEXT: Range<usize> = 0..504;
pub(super) const GNU_SPARSE_NEXT_MORE: usize = 504;
/// One entry of such a map: offset and length, 12 bytes each.
pub(super) const GNU_SPARSE_ENTRY: usize = 24;

pub(super) const MAGIC_USTAR: &[u8; 8] = b"ustar\x0000";
pub(super) const MAGIC_GNU: &[u8; 8] = b"ustar  \0";

/// The dialect a header block is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// The dialect of a block, or `None` if its checksum is wrong.
pub(super) fn dialect(block: &Block) -> Option<Dialect> {
    let stored = super::number::parse_octal(&block[CHECKSUM])?;
    let (unsigned, signed) = checksums(block);
    if stored != unsigned && stored != signed {
        return None;
    }
    let magic = &block[MAGIC];
    Some(
        if &magic[..6] == b"ustar\0" && &block[STAR_TRAILER] == b"tar\0" {
            Dialect::Star
        } else if &magic[..6] == b"ustar\0" {
            Dialect::Ustar
        } else if magic == MAGIC_GNU {
            Dialect::Gnu
        } else {
            Dialect::V7
        },
    )
}

/// The sum of all bytes with the checksum field taken as spaces; some old writers summed signed bytes.
pub(super) fn checksums(block: &Block) -> (i64, i64) {
    let mut unsigned = 0;
    let mut signed = 0;
    for (at, &byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    (unsigned, signed)
}

/// Bytes from the end of `size` bytes of data to the next block.
pub(super) const fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// A field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(field.len());
    &field[..end]
}
