//! Telling archives by their first bytes.

/// How many bytes are enough.
pub(crate) const HEADER_LEN: usize = 1024;

const TAR_BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Whether a file that starts like this is a tar archive, compressed or not.
pub(crate) fn is_archive(start: &[u8]) -> bool {
    const COMPRESSED: [&[u8]; 3] = [
        b"BZh",
        &[0x1f, 0x8b, 0x08],
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
    ];
    COMPRESSED.iter().any(|magic| start.starts_with(magic)) || is_tar(start)
}

/// A tar header proves itself by its checksum, in which the checksum's own bytes count as blanks.
fn is_tar(start: &[u8]) -> bool {
    let Some(block) = start.get(..TAR_BLOCK) else {
        return false;
    };
    let stored = block[CHECKSUM]
        .iter()
        .filter(|b| (b'0'..=b'7').contains(*b));
    let stored = stored.fold(0u64, |sum, digit| sum * 8 + u64::from(digit - b'0'));
    let blank = |(index, byte): (usize, &u8)| {
        if CHECKSUM.contains(&index) {
            b' '
        } else {
            *byte
        }
    };
    let sum: u64 = block.iter().enumerate().map(blank).map(u64::from).sum();
    stored == sum && block[0] != 0
}
