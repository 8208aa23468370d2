//! The end of an eStargz, which says where its table of contents is.

/// Length of a footer.
pub(super) const LENGTH: usize = 51;

/// An empty gzip member, stored, with the table's offset in its extra field.
pub(super) fn footer(toc_offset: u64) -> Vec<u8> {
    let place = format!("{toc_offset:016x}STARGZ");
    let mut footer = Vec::with_capacity(LENGTH);
    // Magic, deflate, an extra field, no time, no particular speed, no particular system.
    footer.extend_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff]);
    footer.extend_from_slice(&(4 + place.len() as u16).to_le_bytes());
    footer.extend_from_slice(b"SG");
    footer.extend_from_slice(&(place.len() as u16).to_le_bytes());
    footer.extend_from_slice(place.as_bytes());
    // The last block, stored, of length 0; then checksum and length of nothing.
    footer.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer.extend_from_slice(&[0; 8]);
    footer
}
