//! Durations as Go writes them: `1h30m`, `1.5s`, `100ms`.

use crate::error::quoted;

/// A duration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is no number, or too large.
    #[error("time: invalid duration {}", quoted(text))]
    Invalid {
        /// The duration.
        text: String,
    },
    /// A number has no unit.
    #[error("time: missing unit in duration {}", quoted(text))]
    NoUnit {
        /// The duration.
        text: String,
    },
    /// A number has an unknown unit.
    #[error("time: unknown unit {} in duration {}", quoted(unit), quoted(text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The duration.
        text: String,
    },
}

/// The units in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration; the result is in nanoseconds.
pub(super) fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid {
        text: text.to_owned(),
    };
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let (unit, after) = after.split_at(
            after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len()),
        );
        if unit.is_empty() {
            return Err(DurationError::NoUnit {
                text: text.to_owned(),
            });
        }
        let Some((_, scale)) = UNITS.iter().find(|(known, _)| *known == unit) else {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        };
        total = nanoseconds(whole, fraction, *scale)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(invalid)?;
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// `whole.fraction` times `scale`, rounded down; `None` if it is too large.
fn nanoseconds(whole: &str, fraction: &str, scale: u64) -> Option<i64> {
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Digits beyond the nineteenth are worth less than a nanosecond in any unit.
    let fraction = fraction.as_bytes().get(..19).unwrap_or(fraction.as_bytes());
    let (mut numerator, mut denominator) = (0u128, 1u128);
    for digit in fraction {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    let fraction = u64::try_from(numerator * u128::from(scale) / denominator).ok()?;
    i64::try_from(whole.checked_mul(scale)?.checked_add(fraction)?).ok()
}
