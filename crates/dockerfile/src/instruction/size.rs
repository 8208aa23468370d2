//! Sizes of memory: `64m`, `1.5GiB`, `1024`.

/// Reads a size in bytes; units are powers of 1024 and their casing does not count.
pub(super) fn parse(text: &str) -> Option<i64> {
    let last = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, unit) = text.split_at(last + 1);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let factor = factor(&unit.to_lowercase())?;
    let bytes = number * factor;
    // Rounds down as a conversion does; what does not fit into the type is no size of memory.
    (bytes.is_finite() && (0.0..9e18).contains(&bytes)).then_some(bytes as i64)
}

fn factor(unit: &str) -> Option<f64> {
    let (prefix, rest) = match unit.chars().next() {
        None | Some('b') => ("", unit),
        Some(first) => unit.split_at(first.len_utf8()),
    };
    let fits = if prefix.is_empty() {
        matches!(rest, "" | "b")
    } else {
        matches!(rest, "" | "b" | "ib")
    };
    let power = ["", "k", "m", "g", "t", "p"]
        .iter()
        .position(|known| *known == prefix)?;
    fits.then(|| 1024f64.powi(power as i32))
}
