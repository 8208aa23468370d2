//! What a source op asks for that wants a single blob.

use std::collections::BTreeMap;

use kiln_registry::Reference;
use kiln_store::RecordType;
use oci_spec::image::Digest;
use serde::Serialize;

use super::identifier::{parse_record_type, parse_reference};
use crate::CacheKey;
use crate::attribute::{go_json, invalid, sha256};
use crate::error::SourceError;
use crate::{file_name, number};

/// A `docker-image+blob://` or `oci-layout+blob://` source: one blob as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobIdentifier {
    /// What it is a part of; the digest is the blob's.
    pub reference: Reference,
    /// The blob.
    pub digest: Digest,
    /// Where it is.
    pub home: BlobHome,
    /// What the file counts as in `du`.
    pub record_type: RecordType,
    /// `http.filename`: the file's name; the hash of the blob, if empty.
    pub filename: String,
    /// `http.perm`: its mode; 0600, if zero.
    pub mode: u32,
    /// `http.uid`.
    pub uid: u32,
    /// `http.gid`.
    pub gid: u32,
}

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobHome {
    /// In a repository of a registry.
    Registry,
    /// In an OCI layout of a client.
    Layout {
        /// The session that lends it; any, if empty.
        session_id: String,
        /// The name under which it lends it.
        store_id: String,
    },
}

impl BlobIdentifier {
    /// Reads the part of the URL after `docker-image+blob://`, and the attributes.
    pub fn in_registry(
        text: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Self, SourceError> {
        Self::parse(text, BlobHome::Registry, attributes)
    }

    /// The same after `oci-layout+blob://`.
    pub fn in_layout(
        text: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Self, SourceError> {
        let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        let store_id = attribute("oci.store");
        if store_id.is_empty() {
            return Err(invalid(
                "oci.store",
                "",
                ": oci-layout blob source requires store id".into(),
            ));
        }
        let home = BlobHome::Layout {
            session_id: attribute("oci.session"),
            store_id,
        };
        Self::parse(text, home, attributes)
    }

    fn parse(
        text: &str,
        home: BlobHome,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Self, SourceError> {
        let reference = parse_reference(text)?;
        let Some(digest) = reference.digest().cloned() else {
            return Err(invalid(
                "reference digest",
                text,
                ": a blob is named by its digest, NAME@sha256:…".into(),
            ));
        };
        let mut identifier = Self {
            reference,
            digest,
            home,
            record_type: RecordType::default(),
            filename: String::new(),
            mode: 0,
            uid: 0,
            gid: 0,
        };
        for (name, value) in attributes {
            identifier.set(name, value)?;
        }
        Ok(identifier)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SourceError> {
        let number = |what| {
            let parsed = number::parse(value);
            parsed.ok_or_else(|| invalid(what, value, ": write a whole number".into()))
        };
        match name {
            "http.filename" => self.filename = file_name::safe(value),
            "http.perm" => self.mode = number("http.perm")?,
            "http.uid" => self.uid = number("http.uid")?,
            "http.gid" => self.gid = number("http.gid")?,
            "image.recordtype" => self.record_type = parse_record_type(value)?,
            _ => {}
        }
        Ok(())
    }

    /// BuildKit's cache key: the blob need not be here to know it.
    pub fn cache_key(&self) -> Result<CacheKey, SourceError> {
        let text = go_json(&KeyText {
            digest: self.digest.as_ref(),
            filename: &self.filename,
            perm: self.mode,
            uid: self.uid,
            gid: self.gid,
        })?;
        Ok(CacheKey {
            key: sha256(text.as_bytes()),
            pin: self.digest.to_string(),
            more: false,
        })
    }
}

/// The text that BuildKit hashes for a key; the fields and their order are its.
#[derive(Serialize)]
struct KeyText<'a> {
    #[serde(rename = "Digest")]
    digest: &'a str,
    #[serde(rename = "Filename")]
    filename: &'a str,
    #[serde(rename = "Perm")]
    perm: u32,
    #[serde(rename = "UID")]
    uid: u32,
    #[serde(rename = "GID")]
    gid: u32,
}
