//! Sizes as people read them, in the form of upstream's tools.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Decimal units with two digits after the point, such as `12.30MB`.
pub(crate) fn size(bytes: i64) -> String {
    match scaled(bytes) {
        (value, unit @ "B") => format!("{value}{unit}"),
        (value, unit) => format!("{value:.2}{unit}"),
    }
}

/// Decimal units with as many digits as it takes, such as `12.3MB`.
pub(crate) fn short_size(bytes: i64) -> String {
    let (value, unit) = scaled(bytes);
    format!("{value}{unit}")
}

fn scaled(bytes: i64) -> (f64, &'static str) {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    (value, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_units() {
        let check = |bytes, long: &str, short: &str| {
            assert_eq!(size(bytes), long);
            assert_eq!(short_size(bytes), short);
        };
        check(0, "0B", "0B");
        check(999, "999B", "999B");
        check(1000, "1.00kB", "1kB");
        check(12_345_678, "12.35MB", "12.345678MB");
    }
}
