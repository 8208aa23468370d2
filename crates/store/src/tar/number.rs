//! Numbers in header fields: octal text, or big-endian binary where the first bit is set.

/// Octal text, padded with spaces or NULs; an empty field is zero.
pub(super) fn parse_octal(field: &[u8]) -> Option<i64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !is_padding(byte))
        .unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|byte| !is_padding(byte))
        .map_or(start, |last| last + 1);
    let digits = super::block::text(&field[start..end]);
    digits.iter().try_fold(0_i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Octal text or a binary number in two's complement.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    let Some(&first) = field.first() else {
        return Some(0);
    };
    if first & 0x80 == 0 {
        return parse_octal(field);
    }
    let negative = first & 0x40 != 0;
    let invert = if negative { 0xff } else { 0 };
    let magnitude = field
        .iter()
        .enumerate()
        .try_fold(0_u64, |value, (at, byte)| {
            let byte = if at == 0 {
                (byte ^ invert) & 0x7f
            } else {
                byte ^ invert
            };
            (value >> 56 == 0).then_some(value << 8 | u64::from(byte))
        })?;
    let magnitude = i64::try_from(magnitude).ok()?;
    Some(if negative { !magnitude } else { magnitude })
}

/// Whether a number fits a field of `width` bytes as octal text with its closing NUL.
pub(super) const fn fits_octal(width: usize, value: i64) -> bool {
    let bits = (width as u32 - 1) * 3;
    value >= 0 && (width >= 22 || value < 1 << bits)
}

/// Writes octal text with leading zeros and a closing NUL; a number that does not fit is written as zero, because the
/// true value then stands in a PAX record.
pub(super) fn format_octal(field: &mut [u8], value: i64) {
    let value = if fits_octal(field.len(), value) {
        value
    } else {
        0
    };
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    field[..width].copy_from_slice(text.as_bytes());
    field[width] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"644x", None),
            (b"9", None),
            (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", Some(1 << 32)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\x80\0\0\0\0\0\0\0", None),
            (b"\x81\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(parse(field), expected, "{field:?}");
        }
    }
}
