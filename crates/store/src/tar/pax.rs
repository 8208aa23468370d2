//! PAX records: `length key=value` lines in a member of their own before the one they describe.

use std::collections::BTreeMap;

use super::header::{Header, Timestamp};

pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys that have a field in the header; a record of theirs is never passed on unless it says what the field says.
const BASIC: [&[u8]; 10] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"uname",
    b"gname",
    b"mtime",
    b"atime",
    b"ctime",
];

/// Keys with which PAX archives describe sparse files.
pub(super) const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";
pub(super) const SPARSE_MAP: &[u8] = b"GNU.sparse.map";
const SPARSE_OFFSET: &[u8] = b"GNU.sparse.offset";
const SPARSE_BYTES: &[u8] = b"GNU.sparse.numbytes";

pub(super) fn is_basic(key: &[u8]) -> bool {
    BASIC.contains(&key)
}

/// Whether a record can be written and read back.
pub(super) fn is_valid(key: &[u8], value: &[u8]) -> bool {
    let no_nul = |text: &[u8]| !text.contains(&0);
    !key.is_empty()
        && !key.contains(&b'=')
        && match key {
            b"path" | b"linkpath" | b"uname" | b"gname" => no_nul(value),
            _ => no_nul(key),
        }
}

/// Parses all records of an extended header. The pairs of the oldest sparse form are joined into one map record.
pub(super) fn parse(mut data: &[u8]) -> Option<Records> {
    let mut records = Records::new();
    let mut map: Vec<&[u8]> = Vec::new();
    while !data.is_empty() {
        let (key, value, rest) = parse_one(data)?;
        data = rest;
        match key {
            SPARSE_OFFSET | SPARSE_BYTES => {
                let turn = if map.len().is_multiple_of(2) {
                    SPARSE_OFFSET
                } else {
                    SPARSE_BYTES
                };
                if key != turn || value.contains(&b',') {
                    return None;
                }
                map.push(value);
            }
            _ => {
                records.insert(key.to_vec(), value.to_vec());
            }
        }
    }
    if !map.is_empty() {
        records.insert(SPARSE_MAP.to_vec(), map.join(&b','));
    }
    Some(records)
}

fn parse_one(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(21).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let line = data.get(space + 1..length)?;
    let (&newline, line) = line.split_last()?;
    let equals = line.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&line[..equals], &line[equals + 1..]);
    (newline == b'\n' && is_valid(key, value)).then_some((key, value, &data[length..]))
}

/// Appends one record; its length counts itself.
pub(super) fn format_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + digits(bare);
    length = bare + digits(length);
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Decimal seconds with as many digits of the fraction as it has.
pub(super) fn format_time(time: Timestamp) -> String {
    if time.nanos == 0 {
        return time.seconds.to_string();
    }
    let (sign, seconds, nanos) = match time.seconds {
        seconds if seconds < 0 => (
            "-",
            seconds.saturating_add(1).unsigned_abs(),
            1_000_000_000 - time.nanos,
        ),
        seconds => ("", seconds.unsigned_abs(), time.nanos),
    };
    format!("{sign}{seconds}.{nanos:09}")
        .trim_end_matches('0')
        .to_owned()
}

/// Decimal seconds; digits beyond nanoseconds are dropped.
pub(super) fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9}", &fraction[..fraction.len().min(9)])
        .parse()
        .ok()?;
    Some(match (whole.starts_with('-'), nanos) {
        (true, 1..) => Timestamp {
            seconds: seconds.checked_sub(1)?,
            nanos: 1_000_000_000 - nanos,
        },
        _ => Timestamp { seconds, nanos },
    })
}

/// Lets the records override the header's fields. `None` if one of them makes no sense.
pub(super) fn merge(header: &mut Header, records: Records) -> Option<()> {
    for (key, value) in &records {
        // An empty value withdraws the record in favour of the plain field.
        if value.is_empty() {
            continue;
        }
        match key.as_slice() {
            b"path" => header.name = value.clone(),
            b"linkpath" => header.link = value.clone(),
            b"uname" => header.user_name = value.clone(),
            b"gname" => header.group_name = value.clone(),
            b"uid" => header.uid = parse_number(value)?,
            b"gid" => header.gid = parse_number(value)?,
            b"size" => header.size = u64::try_from(parse_number(value)?).ok()?,
            b"mtime" => header.mtime = parse_time(value)?,
            b"atime" => header.atime = Some(parse_time(value)?),
            b"ctime" => header.ctime = Some(parse_time(value)?),
            _ => {}
        }
    }
    header.records = records;
    Some(())
}

/// A decimal number.
pub(super) fn parse_number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for (key, value, expected) in [
            ("k", "v", "6 k=v\n"),
            ("path", "/etc/hosts", "19 path=/etc/hosts\n"),
            (
                "path",
                &"a".repeat(90),
                &format!("99 path={}\n", "a".repeat(90)),
            ),
            (
                "path",
                &"a".repeat(91),
                &format!("101 path={}\n", "a".repeat(91)),
            ),
        ] {
            let mut out = Vec::new();
            format_record(&mut out, key.as_bytes(), value.as_bytes());
            assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
            assert_eq!(parse(&out).unwrap()[key.as_bytes()], value.as_bytes());
        }
    }

    #[test]
    fn times_keep_sign_and_fraction() {
        for (text, seconds, nanos) in [
            ("1.5", 1, 500_000_000),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
            ("7", 7, 0),
        ] {
            let time = Timestamp { seconds, nanos };
            assert_eq!(parse_time(text.as_bytes()), Some(time), "{text}");
            assert_eq!(format_time(time), text);
        }
        assert_eq!(
            parse_time(b"1.0000000019"),
            Some(Timestamp {
                seconds: 1,
                nanos: 1
            })
        );
        assert_eq!(parse_time(b"1.x"), None);
    }
}
