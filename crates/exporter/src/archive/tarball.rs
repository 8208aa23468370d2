//! The tar stream of `type=oci` and `type=docker`.

use std::io::{self, Read, Write};

use kiln_registry::Reference;
use kiln_store::ContentStore;
use kiln_store::tar::{Header, Writer};
use oci_spec::image::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Archive, INDEX_FILE, LAYOUT, LAYOUT_FILE, Part};
use crate::cancel::{Cancelled, Guarded};
use crate::image::model::Index;
use crate::image::{Assembled, json};
use crate::options::ArchiveVariant;
use crate::progress::Step;
use crate::{ExportError, archive};

/// Blobs are read, and the archive is written, in pieces of this size.
const PIECE: usize = 256 << 10;

/// An entry of `manifest.json`, which `docker load` reads.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

enum Content {
    Directory,
    Bytes(Vec<u8>),
    Blob(Digest, u64),
}

/// Writes a part of the archive: all members sorted by name, with no times and no owners.
pub(crate) fn write_tarball(
    content: &ContentStore,
    archive: &Archive,
    part: &Part,
    stream: Sink<'_>,
) -> Result<(), ExportError> {
    let Archive {
        image,
        names,
        variant,
    } = archive;
    let mut members = Vec::new();
    for (path, (digest, size)) in archive::blobs(image)? {
        members.push((path, 0o444, Content::Blob(digest, size)));
    }
    for directory in ["blobs/", "blobs/sha256/"] {
        members.push((directory.into(), 0o755, Content::Directory));
    }
    members.push((LAYOUT_FILE.into(), 0o444, Content::Bytes(LAYOUT.to_vec())));
    let index = Index {
        manifests: Some(archive::root_descriptors(&image.root, names)),
        ..archive::index::empty()
    };
    members.push((INDEX_FILE.into(), 0o644, Content::Bytes(encode(&index)?)));
    if *variant == ArchiveVariant::Docker {
        members.push((
            "manifest.json".into(),
            0o644,
            Content::Bytes(docker_manifest(image, names)?),
        ));
    }
    let host = archive::host_manifest(image);
    members.retain(|(path, ..)| part.has(path, host));
    members.sort_by(|one, other| one.0.cmp(&other.0));
    stream.write(content, members)
}

/// Where an archive goes.
pub(crate) struct Sink<'a> {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) cancelled: Cancelled,
    pub(crate) step: &'a Step,
}

impl Sink<'_> {
    fn write(
        self,
        content: &ContentStore,
        members: Vec<(String, i64, Content)>,
    ) -> Result<(), ExportError> {
        let total = members.iter().map(|(_, _, content)| content.size()).sum();
        let mut done = 0;
        let out = Guarded {
            stream: self.out,
            cancelled: self.cancelled,
        };
        let mut tar = Writer::new(io::BufWriter::with_capacity(PIECE, out));
        for (name, mode, member) in members {
            match &member {
                Content::Directory => tar.header(&Header::directory(name, mode))?,
                Content::Bytes(bytes) => tar.entry(
                    &Header::file(name, bytes.len() as u64, mode),
                    bytes.as_slice(),
                )?,
                Content::Blob(digest, size) => {
                    let header = Header::file(name, *size, mode);
                    copy_blob(content, digest, &header, &mut tar)?;
                }
            }
            done += member.size();
            self.step.advance(done, Some(total));
        }
        let mut out = tar.finish()?;
        out.flush().map_err(ExportError::Stream)
    }
}

fn copy_blob(
    content: &ContentStore,
    digest: &Digest,
    header: &Header,
    tar: &mut Writer<impl Write>,
) -> Result<(), ExportError> {
    let file = content
        .open(digest)
        .map_err(|error| ExportError::Store(error.into()))?;
    let mut blob = Hashed {
        inner: file,
        hash: Sha256::new(),
    };
    tar.entry(header, io::BufReader::with_capacity(PIECE, &mut blob))?;
    blob.verify(digest)
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Directory => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(_, size) => *size,
        }
    }
}

/// A reader that hashes what passes through.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashed<R> {
    /// Fails if the bytes were not those of the digest.
    fn verify(self, expected: &Digest) -> Result<(), ExportError> {
        let found = hex::encode(self.hash.finalize());
        match expected.digest() == found {
            true => Ok(()),
            false => Err(ExportError::Changed {
                expected: expected.to_string(),
                found: format!("sha256:{found}"),
            }),
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

/// The entry for the image that `docker load` on this machine would want.
fn docker_manifest(image: &Assembled, names: &[Reference]) -> Result<Vec<u8>, ExportError> {
    let entries: Vec<_> = archive::host_manifest(image)
        .map(|manifest| DockerManifest {
            config: archive::path(&manifest.config),
            repo_tags: Some(names.iter().map(Reference::familiar).collect())
                .filter(|tags: &Vec<_>| !tags.is_empty()),
            layers: Some(manifest.layers.iter().map(archive::path).collect())
                .filter(|layers: &Vec<_>| !layers.is_empty()),
        })
        .into_iter()
        .collect();
    encode(&entries)
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, ExportError> {
    json::compact(value).map_err(|error| ExportError::Config(error.to_string()))
}
