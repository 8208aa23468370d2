//! Times in image configs: read and printed so that what was printed by Go comes out unchanged.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment with the offset it was written in. Ordered by moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    moment: jiff::Timestamp,
    offset: Offset,
}

impl Time {
    /// So many seconds after 1970, or the nearest moment that has a year of four digits.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        let bounded = seconds.clamp(-62_135_596_800, 253_402_300_799);
        Self {
            moment: jiff::Timestamp::from_second(bounded).unwrap_or_default(),
            offset: Offset::UTC,
        }
    }

    pub(crate) fn is_after(&self, other: &Self) -> bool {
        self.moment > other.moment
    }

    /// The same moment without its fraction of a second, in UTC.
    pub(crate) fn whole_seconds(&self) -> Self {
        Self::from_seconds(self.moment.as_second())
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self {
            moment: jiff::Timestamp::try_from(time).unwrap_or_default(),
            offset: Offset::UTC,
        }
    }
}

impl fmt::Display for Time {
    /// RFC 3339 with as many digits of a fraction as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil: DateTime = self.offset.to_datetime(self.moment);
        let (date, time) = (civil.date(), civil.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T",
            date.year(),
            date.month(),
            date.day()
        )?;
        write!(
            f,
            "{:02}:{:02}:{:02}",
            time.hour(),
            time.minute(),
            time.second()
        )?;
        let nanos = time.subsec_nanosecond();
        if nanos != 0 {
            write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))?;
        }
        match self.offset.seconds() {
            0 => f.write_str("Z"),
            seconds => {
                let sign = if seconds < 0 { '-' } else { '+' };
                let minutes = seconds.unsigned_abs() / 60;
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pieces = jiff::fmt::temporal::Pieces::parse(text)?;
        let moment: jiff::Timestamp = text.parse()?;
        let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
        Ok(Self { moment, offset })
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for (text, expected) in [
            ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
            ("2023-11-14T22:13:20.120000000Z", "2023-11-14T22:13:20.12Z"),
            (
                "2023-11-14T22:13:20.000000001+02:00",
                "2023-11-14T22:13:20.000000001+02:00",
            ),
            ("2023-11-14T22:13:20-03:30", "2023-11-14T22:13:20-03:30"),
            ("1970-01-01T00:00:00+00:00", "1970-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), expected);
        }
        assert!("yesterday".parse::<Time>().is_err());
        assert_eq!(
            Time::from_seconds(1_700_000_000).to_string(),
            "2023-11-14T22:13:20Z"
        );
    }
}
