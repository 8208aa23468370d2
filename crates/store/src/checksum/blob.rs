//! The compact form of checksums. Keys are in order, so each one only says where it departs from the one before.

use super::sums::Checksums;
use super::{RootHeader, Sum};

const MAGIC: &[u8; 4] = b"kcs\x01";

pub(super) fn write(sums: &Checksums) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(match sums.root_header {
        RootHeader::Counted => 0,
        RootHeader::Ignored => 1,
    });
    put_number(&mut out, sums.answers.len());
    for (question, answer) in &sums.answers {
        out.extend_from_slice(question);
        out.extend_from_slice(answer);
    }
    put_number(&mut out, sums.known.len());
    let mut last: &[u8] = &[];
    for (key, sum) in &sums.known {
        let shared = key
            .iter()
            .zip(last)
            .take_while(|(one, other)| one == other)
            .count();
        put_number(&mut out, shared);
        put_number(&mut out, key.len() - shared);
        out.extend_from_slice(&key[shared..]);
        out.extend_from_slice(sum);
        last = key;
    }
    out
}

pub(super) fn read(bytes: &[u8]) -> Option<Checksums> {
    let mut input = Input(bytes.strip_prefix(MAGIC)?);
    let mut sums = Checksums::new(match input.take(1)? {
        [0] => RootHeader::Counted,
        [1] => RootHeader::Ignored,
        _ => return None,
    });
    for _ in 0..input.number()? {
        sums.answers.insert(input.sum()?, input.sum()?);
    }
    let mut key: Vec<u8> = Vec::new();
    for _ in 0..input.number()? {
        let shared = input.number()?;
        key.truncate(if shared <= key.len() {
            shared
        } else {
            return None;
        });
        let length = input.number()?;
        key.extend_from_slice(input.take(length)?);
        sums.known.insert(key.clone(), input.sum()?);
    }
    input.0.is_empty().then_some(sums)
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn sum(&mut self) -> Option<Sum> {
        self.take(32)?.try_into().ok()
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = usize::from(*self.take(1)?.first()?);
            number |= (byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}
