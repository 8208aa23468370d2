//! Sparse files: three PAX forms and the old GNU one, all maps of (offset, length) of what is stored.

use super::pax::{self, Records};

/// A part of a sparse file as it expands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Bytes that the archive stores.
    Data(u64),
    /// Zeros that it leaves out.
    Hole(u64),
}

impl Segment {
    pub(super) fn length(self) -> u64 {
        match self {
            Self::Data(length) | Self::Hole(length) => length,
        }
    }
}

/// What PAX records say about a sparse file.
pub(super) struct PaxForm {
    /// The file's own name.
    pub(super) name: Option<Vec<u8>>,
    /// Its expanded size.
    pub(super) size: Option<u64>,
    /// Its map, or `None` if the map is at the start of the data.
    pub(super) map: Option<Vec<(u64, u64)>>,
}

/// The sparse form of a file's records: `None` for an ordinary file, `Some(None)` for malformed records.
pub(super) fn pax_form(records: &Records) -> Option<Option<PaxForm>> {
    let get = |key: &str| records.get(key.as_bytes()).map(Vec::as_slice);
    let in_data = match (get("GNU.sparse.major"), get("GNU.sparse.minor")) {
        (Some(b"0"), Some(b"0" | b"1")) => false,
        (Some(b"1"), Some(b"0")) => true,
        // Later versions are not known; the file then is what it is.
        (Some(_), _) | (_, Some(_)) => return None,
        (None, None) => {
            records.get(pax::SPARSE_MAP)?;
            false
        }
    };
    let number =
        |text: &[u8]| pax::parse_number(text).and_then(|number| u64::try_from(number).ok());
    let size = match get("GNU.sparse.size")
        .or(get("GNU.sparse.realsize"))
        .map(number)
    {
        Some(None) => return Some(None),
        size => size.flatten(),
    };
    let map = match (in_data, get("GNU.sparse.map")) {
        (true, _) => None,
        (false, map) => match record_map(
            map.unwrap_or_default(),
            get("GNU.sparse.numblocks").and_then(number),
        ) {
            None => return Some(None),
            map => map,
        },
    };
    Some(Some(PaxForm {
        name: get("GNU.sparse.name")
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec),
        size,
        map,
    }))
}

fn record_map(text: &[u8], blocks: Option<u64>) -> Option<Vec<(u64, u64)>> {
    let numbers: Vec<u64> = match text {
        b"" => Vec::new(),
        text => text
            .split(|&byte| byte == b',')
            .map(|number| u64::try_from(pax::parse_number(number)?).ok())
            .collect::<Option<_>>()?,
    };
    let map = pairs(&numbers)?;
    blocks
        .is_none_or(|blocks| blocks == map.len() as u64)
        .then_some(map)
}

fn pairs(numbers: &[u64]) -> Option<Vec<(u64, u64)>> {
    let chunks = numbers.chunks_exact(2);
    chunks
        .remainder()
        .is_empty()
        .then(|| chunks.map(|pair| (pair[0], pair[1])).collect())
}

/// The state of a map that precedes the data.
pub(super) enum DataMap {
    /// All of it is there.
    Complete(Vec<(u64, u64)>),
    /// More blocks belong to it.
    Partial,
    /// It is no map.
    Malformed,
}

/// Parses a map that precedes the data from its first blocks.
pub(super) fn parse_data_map(text: &[u8]) -> DataMap {
    let mut lines = text
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let Some(first) = lines.next() else {
        return if text.len() > 64 {
            DataMap::Malformed
        } else {
            DataMap::Partial
        };
    };
    let parse = |line: &[u8]| {
        let digits = line.strip_suffix(b"\n")?;
        let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
        u64::try_from(pax::parse_number(digits)?).ok()
    };
    let Some(wanted) = parse(first).and_then(|count| usize::try_from(count).ok()?.checked_mul(2))
    else {
        return DataMap::Malformed;
    };
    let mut numbers = Vec::new();
    for line in lines.take(wanted) {
        match parse(line) {
            Some(number) => numbers.push(number),
            None => return DataMap::Malformed,
        }
    }
    if numbers.len() < wanted {
        return DataMap::Partial;
    }
    pairs(&numbers).map_or(DataMap::Malformed, DataMap::Complete)
}

/// A lower bound of the further blocks a partial map needs: every number takes two bytes at least.
pub(super) fn map_blocks_needed(text: &[u8]) -> Option<u64> {
    let first = text.split(|&byte| byte == b'\n').next()?;
    let count = u64::try_from(pax::parse_number(first)?).ok()?;
    let lines = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let missing = count.checked_mul(2)?.checked_add(1)?.checked_sub(lines)?;
    Some((missing.checked_mul(2)? / 512).max(1))
}

/// Turns a map into the file's parts, last part first. `None` if the map is out of order, exceeds the file or does not
/// account for exactly what is stored.
pub(super) fn segments(map: &[(u64, u64)], size: u64, stored: u64) -> Option<Vec<Segment>> {
    let mut parts = Vec::with_capacity(map.len() * 2 + 1);
    let mut at = 0_u64;
    let mut data = 0_u64;
    for &(offset, length) in map {
        parts.push(Segment::Hole(offset.checked_sub(at)?));
        parts.push(Segment::Data(length));
        at = offset.checked_add(length)?;
        data = data.checked_add(length)?;
    }
    parts.push(Segment::Hole(size.checked_sub(at)?));
    parts.reverse();
    (data == stored).then_some(parts)
}
