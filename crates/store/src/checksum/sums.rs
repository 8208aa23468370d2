//! The checksums of one tree: what is asked, what is known.

use std::collections::BTreeMap;

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::header::FileHash;
use super::select::{Covered, absent, select};
use super::tree::{Hasher, Known, Part, key};
use super::{ChecksumError, ChecksumOptions, RootHeader, Sum, blob, text, to_digest};
use crate::path;
use crate::tree::{Follow, Root};

/// The checksums of one immutable tree.
#[derive(Clone, Debug, Default)]
pub struct Checksums {
    pub(super) root_header: RootHeader,
    /// Answers by question.
    pub(super) answers: BTreeMap<Sum, Sum>,
    pub(super) known: Known,
    dirty: bool,
}

impl Checksums {
    /// No checksums yet.
    pub fn new(root_header: RootHeader) -> Self {
        Self {
            root_header,
            ..Self::default()
        }
    }

    /// The checksum of `path`, computed with several threads where it is not known yet.
    ///
    /// # Errors
    /// Nothing is there, a pattern is malformed, or a file cannot be read.
    pub fn checksum(
        &mut self,
        root: &Root,
        path: &str,
        options: &ChecksumOptions,
    ) -> Result<Digest, ChecksumError> {
        let question = question(path, options);
        if let Some(sum) = self.answers.get(&question) {
            return to_digest(sum);
        }
        let given = path::absolute(path);
        let sum = if options.is_plain() {
            self.one(root, given.as_bytes(), options.follow_links)?
        } else {
            self.selection(root, path, options)?
        };
        self.answers.insert(question, sum);
        self.dirty = true;
        to_digest(&sum)
    }

    /// The checksum of `path` if it was asked for before: needs no tree.
    pub fn known(&self, path: &str, options: &ChecksumOptions) -> Option<Digest> {
        to_digest(self.answers.get(&question(path, options))?).ok()
    }

    /// Whether something was added since it was made or read.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The form that is kept beside the tree.
    pub fn to_bytes(&self) -> Vec<u8> {
        blob::write(self)
    }

    /// Reads the kept form.
    ///
    /// # Errors
    /// It is damaged or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChecksumError> {
        blob::read(bytes).ok_or(ChecksumError::Cache)
    }

    /// The checksums of a tree that differs from this one only at the `changed` paths (added, changed or removed) and
    /// below them.
    #[must_use]
    pub fn derive<'a>(&self, changed: impl IntoIterator<Item = &'a str>) -> Self {
        let mut derived = Self {
            known: self.known.clone(),
            dirty: true,
            ..Self::new(self.root_header)
        };
        for path in changed {
            derived.forget(&key(path::absolute(path).as_bytes()));
        }
        derived
    }

    /// Remembers a regular file that was hashed while it was written into the tree.
    pub fn insert(&mut self, path: &str, hash: FileHash) {
        let key = key(path::absolute(path).as_bytes());
        self.forget(&key);
        self.answers.clear();
        self.known.insert(key, hash.finish());
        self.dirty = true;
    }

    /// Forgets a path, all below it, and the directories that contain it.
    fn forget(&mut self, key: &[u8]) {
        let below = [key, &[0]].concat();
        let doomed: Vec<Vec<u8>> = self
            .known
            .range(below.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&below))
            .cloned()
            .collect();
        for key in doomed {
            self.known.remove(&key);
        }
        self.known.remove(key);
        for end in (0..key.len()).filter(|&at| key[at] == 0) {
            self.known.remove(&key[..end]);
        }
    }

    /// The sum of a path without patterns.
    fn one(&mut self, root: &Root, given: &[u8], follow_links: bool) -> Result<Sum, ChecksumError> {
        let follow = if follow_links {
            Follow::Yes
        } else {
            Follow::No
        };
        let not_found = || {
            ChecksumError::NotFound(match given {
                b"/" => String::new(),
                given => String::from_utf8_lossy(given).into_owned(),
            })
        };
        let real = root
            .resolve(given, follow)
            .map(Some)
            .or_else(absent)?
            .ok_or_else(not_found)?;
        let metadata = root.find(&real).or_else(absent)?.ok_or_else(not_found)?;
        let hasher = Hasher {
            root,
            root_header: self.root_header,
        };
        hasher.whole(&real, &metadata, &mut self.known)
    }

    /// The keys of what a path with patterns covers, once their sums are known; `None` for one without.
    pub(super) fn covered(
        &mut self,
        root: &Root,
        path: &str,
        options: &ChecksumOptions,
    ) -> Result<Option<Vec<Vec<u8>>>, ChecksumError> {
        if options.is_plain() {
            return Ok(None);
        }
        self.selection(root, path, options)?;
        let covered = select(root, path, options)?.covered;
        Ok(Some(covered.iter().map(part_key).collect()))
    }

    /// The key of a path without patterns, once the sums of all below it are known.
    pub(super) fn real_key(
        &mut self,
        root: &Root,
        path: &str,
        follow_links: bool,
    ) -> Result<Vec<u8>, ChecksumError> {
        let given = path::absolute(path);
        self.one(root, given.as_bytes(), follow_links)?;
        let follow = if follow_links {
            Follow::Yes
        } else {
            Follow::No
        };
        let real = root
            .resolve(given.as_bytes(), follow)
            .map(Some)
            .or_else(absent)?;
        real.map(|real| key(&real))
            .ok_or(ChecksumError::NotFound(given))
    }

    /// The sum of what a path with patterns covers.
    fn selection(
        &mut self,
        root: &Root,
        path: &str,
        options: &ChecksumOptions,
    ) -> Result<Sum, ChecksumError> {
        let selection = select(root, path, options)?;
        let followed = |one: &Covered| one.named && one.symlink && options.follow_links;
        let parts = selection.covered.iter().filter(|one| !followed(one));
        let parts = parts.map(|one| (one.real.clone(), one.part)).collect();
        Hasher {
            root,
            root_header: self.root_header,
        }
        .parts(parts, &mut self.known)?;

        let mut sums = Vec::with_capacity(selection.covered.len());
        for one in &selection.covered {
            let sum = if followed(one) {
                self.one(root, &one.shown, true)?
            } else {
                self.part(one)?
            };
            sums.push((one.shown.as_slice(), sum));
        }
        // A path that covers just what it names is that thing.
        if let [(shown, sum)] = sums.as_slice()
            && path::base(path.as_bytes()) == path::base(shown)
        {
            return Ok(*sum);
        }
        let mut hash = Sha256::new();
        for (shown, sum) in &sums {
            let shown = shown
                .strip_prefix(selection.prefix.as_bytes())
                .unwrap_or(shown);
            match shown {
                b"" => hash.update([0]),
                shown => hash.update(key(shown)),
            }
            hash.update(text(sum));
        }
        Ok(hash.finalize().into())
    }

    fn part(&self, one: &Covered) -> Result<Sum, ChecksumError> {
        let key = part_key(one);
        self.known.get(&key).copied().ok_or(ChecksumError::Cache)
    }
}

fn part_key(one: &Covered) -> Vec<u8> {
    let mut key = key(&one.real);
    if one.part == Part::Header {
        key.push(0);
    }
    key
}

/// A name for a question, by which its answer is kept.
fn question(path: &str, options: &ChecksumOptions) -> Sum {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(path);
    for list in [&options.include, &options.exclude, &options.required] {
        text(&list.len().to_string());
        list.iter().for_each(|one| text(one));
    }
    hash.update([u8::from(options.follow_links), u8::from(options.wildcard)]);
    hash.finalize().into()
}
