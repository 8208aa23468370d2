//! What makes two checksums differ: the paths behind them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use super::sums::Checksums;
use super::tree::Known;
use super::{ChecksumError, ChecksumOptions, Sum};
use crate::tree::{FileKind, Follow, Metadata, Root};

/// Files up to this size are read to see whether their content differs beside their attributes.
const MAX_COMPARED: u64 = 64 << 20;

/// A tree with what is known of its checksums.
pub struct SummedTree<'a> {
    /// Its checksums.
    pub sums: &'a mut Checksums,
    /// The tree.
    pub root: &'a Root,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// The path from the root; a directory's ends with a slash.
    pub path: String,
    /// What differs, the most telling first.
    pub what: Vec<Change>,
}

/// What differs at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added,
    /// It is gone.
    Removed,
    /// It is of another type.
    Kind,
    /// Its content.
    Content,
    /// Where the symlink points.
    Target,
    /// Its permission bits.
    Mode,
    /// Its owner or group.
    Owner,
    /// Its extended attributes.
    Attributes,
}

/// The paths that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The first of them.
    pub first: Vec<PathChange>,
    /// How many there are.
    pub count: usize,
}

/// What differs between two trees in what `path` covers; `limit` of the paths are named.
///
/// # Errors
/// Nothing is at the path in one of them, a pattern is malformed, or a file cannot be read.
pub fn changes(
    before: SummedTree<'_>,
    now: SummedTree<'_>,
    (path, options): (&str, &ChecksumOptions),
    limit: usize,
) -> Result<Changes, ChecksumError> {
    let old = before.sums.listing(before.root, path, options)?;
    let new = now.sums.listing(now.root, path, options)?;
    let keys = differing(&old, &new);
    let first = keys.iter().take(limit).map(|(key, presence)| {
        let path = path_of(key);
        let what = match presence {
            Presence::Now => vec![Change::Added],
            Presence::Before => vec![Change::Removed],
            Presence::Both => what(before.root, now.root, &path),
        };
        PathChange { path, what }
    });
    Ok(Changes {
        first: first.collect(),
        count: keys.len(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Before,
    Now,
    Both,
}

/// Keys whose sums differ: files first, then directories that differ themselves. A directory that comes or goes with
/// what is in it is not worth a word of its own.
fn differing(old: &Known, new: &Known) -> Vec<(Vec<u8>, Presence)> {
    let mut found: BTreeMap<&[u8], Presence> = BTreeMap::new();
    for (key, sum) in old {
        match new.get(key) {
            None => drop(found.insert(key, Presence::Before)),
            Some(other) if other != sum => drop(found.insert(key, Presence::Both)),
            Some(_) => {}
        }
    }
    let added = new.keys().filter(|key| !old.contains_key(*key));
    found.extend(added.map(|key| (key.as_slice(), Presence::Now)));
    let is_header = |key: &[u8]| key.last() == Some(&0);
    let has_files = found.keys().any(|key| !is_header(key));
    let mut keys: Vec<(Vec<u8>, Presence)> = found
        .into_iter()
        .filter(|(key, presence)| !has_files || !is_header(key) || *presence == Presence::Both)
        .map(|(key, presence)| (key.to_vec(), presence))
        .collect();
    keys.sort_by_key(|(key, _)| is_header(key));
    keys
}

fn path_of(key: &[u8]) -> String {
    let path: Vec<u8> = key
        .iter()
        .map(|&byte| if byte == 0 { b'/' } else { byte })
        .collect();
    let path = String::from_utf8_lossy(&path).into_owned();
    match path.starts_with('/') {
        true => path,
        false => format!("/{path}"),
    }
}

fn what(before: &Root, now: &Root, path: &str) -> Vec<Change> {
    let find = |root: &Root| root.metadata(path, Follow::No).ok();
    let (Some(old), Some(new)) = (find(before), find(now)) else {
        return vec![Change::Content];
    };
    if old.kind != new.kind {
        return vec![Change::Kind];
    }
    let mut what = Vec::new();
    if old.kind == FileKind::Symlink {
        let link = |root: &Root| root.read_link(path).ok();
        if link(before) != link(now) {
            what.push(Change::Target);
        }
    } else if old.mode != new.mode {
        what.push(Change::Mode);
    }
    if old.owner != new.owner {
        what.push(Change::Owner);
    }
    let attributes = |root: &Root| root.xattrs(path, Follow::No).ok();
    if attributes(before) != attributes(now) {
        what.push(Change::Attributes);
    }
    // The sums differ: without another reason it is the content.
    let is_file = old.kind == FileKind::File;
    if is_file && (what.is_empty() || !same_content(before, now, path, (&old, &new))) {
        what.insert(0, Change::Content);
    }
    if what.is_empty() {
        what.push(Change::Attributes);
    }
    what
}

fn same_content(before: &Root, now: &Root, path: &str, (old, new): (&Metadata, &Metadata)) -> bool {
    if old.size != new.size || old.size > MAX_COMPARED {
        return false;
    }
    let (Ok(old), Ok(new)) = (before.open_file(path), now.open_file(path)) else {
        return false;
    };
    let read = |file: File| {
        let mut bytes = Vec::new();
        file.take(MAX_COMPARED)
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    };
    matches!((read(old), read(new)), (Ok(old), Ok(new)) if old == new)
}

impl Checksums {
    /// The sums of all that a path covers: files and links by their keys, directories by those of their headers.
    fn listing(
        &mut self,
        root: &Root,
        path: &str,
        options: &ChecksumOptions,
    ) -> Result<Known, ChecksumError> {
        if let Some(keys) = self.covered(root, path, options)? {
            let found = keys.into_iter().filter_map(|key| {
                let sum: Sum = *self.known.get(&key)?;
                Some((key, sum))
            });
            return Ok(found.collect());
        }
        let top = self.real_key(root, path, options.follow_links)?;
        let below = [top.as_slice(), &[0]].concat();
        let is_within = |key: &[u8]| key == top || key.starts_with(&below);
        let within = self.known.range(top.clone()..);
        let within = within.take_while(|(key, _)| is_within(key));
        // What a directory's sum covers is listed itself.
        let own =
            within.filter(|(key, _)| !self.known.contains_key(&[key.as_slice(), &[0]].concat()));
        Ok(own.map(|(key, sum)| (key.clone(), *sum)).collect())
    }
}
