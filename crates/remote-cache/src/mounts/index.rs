//! What leads from a mount to its tree and its chunks.

use std::collections::BTreeSet;
use std::str::FromStr;

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use super::artifact::{PACK, TREE};
use super::chunk::LARGEST;
use crate::model::Descriptor;

/// An index is read as a whole.
pub(super) const LIMIT: u64 = 64 << 20;
/// A tree is read as a whole, too.
pub(super) const LARGEST_TREE: u64 = 128 << 20;
/// A pack is read as a whole when what is left of it is moved.
pub(super) const LARGEST_PACK: u64 = 256 << 20;
/// What all files of one mount may come to.
const LARGEST_MOUNT: u64 = 1 << 42;

/// The config of the artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) mounts: Vec<Mount>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) packs: Vec<Blob>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mount {
    /// The id of the mount, with its namespace.
    pub(super) id: String,
    /// Checksum of the tree that it started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<String>,
    /// A zstd-compressed tar archive whose files have no data.
    pub(super) tree: Blob,
    /// How many entries that has.
    pub(super) entries: u64,
    /// The data of its files, one after the other, as indexes of chunks.
    pub(super) chunks: Vec<usize>,
}

/// A piece of data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) digest: String,
    pub(super) length: u64,
    /// Index of the pack that it is in.
    pub(super) pack: usize,
    pub(super) offset: u64,
    /// Its length there, compressed.
    pub(super) stored: u64,
}

/// A blob of a kind that is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
}

/// What an index may not say.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("the index of the mounts is damaged: {0}")]
pub(super) struct IndexError(String);

impl Index {
    /// Reads an index, believing nothing of it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let index: Self =
            serde_json::from_slice(bytes).map_err(|error| IndexError(error.to_string()))?;
        index.check()?;
        Ok(index)
    }

    fn check(&self) -> Result<(), IndexError> {
        for pack in &self.packs {
            pack.check(LARGEST_PACK)?;
        }
        for chunk in &self.chunks {
            let wrong = |what: &str| Err(IndexError(format!("chunk {} {what}", chunk.digest)));
            check_digest(&chunk.digest)?;
            if chunk.length == 0 || chunk.length > LARGEST as u64 {
                return wrong("has no possible length");
            }
            let end = chunk.offset.checked_add(chunk.stored);
            match (self.packs.get(chunk.pack), end) {
                (Some(pack), Some(end)) if end <= pack.size => {}
                _ => return wrong("is not in its pack"),
            }
        }
        let mut names = BTreeSet::new();
        for mount in &self.mounts {
            let wrong = |what: &str| Err(IndexError(format!("mount {:?} {what}", mount.id)));
            mount.tree.check(LARGEST_TREE)?;
            if !names.insert((&mount.id, &mount.seed)) {
                return wrong("is there twice");
            }
            let lengths = mount.chunks.iter().map(|index| self.chunks.get(*index));
            let total: Option<u64> = lengths.map(|it| it.map(|chunk| chunk.length)).sum();
            match total {
                Some(total) if total <= LARGEST_MOUNT => {}
                Some(_) => return wrong("is too large"),
                None => return wrong("has chunks that do not exist"),
            }
        }
        Ok(())
    }

    /// How many bytes the files of a mount come to.
    pub(super) fn size_of(&self, mount: &Mount) -> u64 {
        let chunks = mount
            .chunks
            .iter()
            .filter_map(|index| self.chunks.get(*index));
        chunks.map(|chunk| chunk.length).sum()
    }
}

impl Blob {
    fn check(&self, largest: u64) -> Result<(), IndexError> {
        check_digest(&self.digest)?;
        match self.size <= largest {
            true => Ok(()),
            false => Err(IndexError(format!("blob {} is too large", self.digest))),
        }
    }

    pub(super) fn tree(&self) -> Descriptor {
        self.as_type(TREE)
    }

    pub(super) fn pack(&self) -> Descriptor {
        self.as_type(PACK)
    }

    fn as_type(&self, media_type: &str) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest: self.digest.clone(),
            size: self.size,
            ..Descriptor::default()
        }
    }
}

fn check_digest(digest: &str) -> Result<(), IndexError> {
    match digest.starts_with("sha256:") && Digest::from_str(digest).is_ok() {
        true => Ok(()),
        false => Err(IndexError(format!("{digest:?} is no SHA-256 digest"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn digest(digit: char) -> String {
        format!("sha256:{}", String::from(digit).repeat(64))
    }

    fn index() -> Value {
        json!({
            "mounts": [{"id": "/c", "tree": {"digest": digest('1'), "size": 9}, "entries": 1, "chunks": [0, 0]}],
            "chunks": [{"digest": digest('2'), "length": 10, "pack": 0, "offset": 5, "stored": 5}],
            "packs": [{"digest": digest('3'), "size": 10}],
        })
    }

    #[test]
    fn a_good_index_is_read() {
        let read = Index::parse(index().to_string().as_bytes()).unwrap();
        assert_eq!(read.size_of(&read.mounts[0]), 20);
    }

    #[test]
    fn a_bad_index_is_refused() {
        let changes: [(&str, Value); 12] = [
            ("/packs/0/digest", json!("sha256:../../etc/passwd")),
            ("/packs/0/digest", json!("../../etc/passwd")),
            ("/packs/0/size", json!(1_u64 << 40)),
            ("/packs/0/size", json!(9)),
            ("/chunks/0/pack", json!(1)),
            ("/chunks/0/length", json!(0)),
            ("/chunks/0/length", json!(1 << 30)),
            ("/chunks/0/stored", json!(u64::MAX)),
            ("/chunks/0/digest", json!("md5:00")),
            ("/mounts/0/chunks", json!([0, 1])),
            ("/mounts/0/tree/size", json!(1_u64 << 40)),
            ("/mounts/0/chunks", json!([-1])),
        ];
        for (place, value) in changes {
            let mut bad = index();
            *bad.pointer_mut(place).unwrap() = value.clone();
            let read = Index::parse(bad.to_string().as_bytes());
            assert!(read.is_err(), "{place} {value}");
        }
        let mut twice = index();
        let mounts = twice["mounts"].as_array_mut().unwrap();
        mounts.push(mounts[0].clone());
        assert!(Index::parse(twice.to_string().as_bytes()).is_err());
        assert!(Index::parse(b"{").is_err());
    }
}
