//! Numbers as Go's `ParseInt` reads them with base 0.

/// Reads `420`, `0644`, `0o644`, `0x1a4`, `0b1`, each with underscores between digits.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(&digits, base).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn bases_are_told_by_prefixes() {
        let check = |text, expected| assert_eq!(parse(text), expected, "{text}");
        check("420", Some(420));
        check("0644", Some(0o644));
        check("0o6_44", Some(0o644));
        check("0X1A4", Some(420));
        check("0b101", Some(5));
        check("0", Some(0));
        check("+7", Some(7));
        for wrong in ["", "-1", "08", "0x", "1e3", "++1", "4294967296"] {
            check(wrong, None);
        }
    }
}
