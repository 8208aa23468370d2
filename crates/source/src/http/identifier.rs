//! What a `http://` or `https://` source asks for.

use std::collections::BTreeMap;
use std::str::FromStr;

use kiln_llb::attr;
use oci_spec::image::Digest;
use serde::Serialize;

use crate::attribute::{go_json, invalid, sha256};
use crate::error::SourceError;
use crate::number;

/// Request headers that a build may set. Others are dropped, as BuildKit drops them.
const HEADERS: [&str; 2] = ["Accept", "User-Agent"];

/// A file on a web server, and what becomes of it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpIdentifier {
    /// The whole URL.
    pub url: String,
    /// `http.checksum`: what the file must be.
    pub checksum: Option<Digest>,
    /// `http.filename`: its name here; that of the server or of the URL, if empty.
    pub filename: String,
    /// `http.perm`: its mode; 0600, if zero.
    pub mode: u32,
    /// `http.uid`.
    pub uid: u32,
    /// `http.gid`.
    pub gid: u32,
    /// `http.authheadersecret`: the secret whose value is the `Authorization` header.
    pub header_secret: String,
    /// `http.header.*`, by name.
    pub headers: Vec<Header>,
    /// `http.sig.*`: who must have signed it.
    pub signature: Option<HttpSignature>,
}

/// Somebody's signature of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpSignature {
    /// `http.sig.pubkey`: those who are trusted, as armored OpenPGP keys.
    pub keys: String,
    /// `http.sig.signature`: an armored detached signature by OpenPGP.
    pub signature: String,
}

/// A header of the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Header {
    /// In its usual capitals.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl HttpIdentifier {
    /// Reads a source op's URL, without its scheme, and attributes.
    pub fn parse(
        scheme: &str,
        rest: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Self, SourceError> {
        let mut identifier = Self {
            url: format!("{scheme}://{rest}"),
            checksum: None,
            filename: String::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            header_secret: String::new(),
            headers: Vec::new(),
            signature: None,
        };
        for (name, value) in attributes {
            identifier.set(name, value)?;
        }
        identifier.headers.sort();
        if let Some(HttpSignature { keys, signature }) = &identifier.signature
            && (keys.is_empty() || signature.is_empty())
        {
            return Err(SourceError::HalfASignature);
        }
        Ok(identifier)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SourceError> {
        let number = |what| {
            let parsed = number::parse(value);
            parsed.ok_or_else(|| invalid(what, value, ": write a whole number".into()))
        };
        match name {
            "http.checksum" => {
                let digest = Digest::from_str(value);
                let digest = digest
                    .map_err(|error| invalid("http.checksum", value, format!(": {error}")))?;
                self.checksum = Some(digest);
            }
            "http.filename" => value.clone_into(&mut self.filename),
            "http.perm" => self.mode = number("http.perm")?,
            "http.uid" => self.uid = number("http.uid")?,
            "http.gid" => self.gid = number("http.gid")?,
            "http.authheadersecret" => value.clone_into(&mut self.header_secret),
            attr::HTTP_SIGNATURE_KEYS => {
                value.clone_into(&mut self.signature.get_or_insert_default().keys);
            }
            attr::HTTP_SIGNATURE => {
                value.clone_into(&mut self.signature.get_or_insert_default().signature);
            }
            _ => {
                let header = name.strip_prefix("http.header.");
                let known = HEADERS
                    .iter()
                    .find(|known| header.is_some_and(|name| name.eq_ignore_ascii_case(known)));
                self.headers.extend(known.map(|name| Header {
                    name: (*name).to_owned(),
                    value: value.to_owned(),
                }));
            }
        }
        Ok(())
    }

    /// What a download is remembered by.
    pub(super) fn memory_key(&self) -> Result<String, SourceError> {
        let parts = (
            (&self.url, &self.filename),
            (self.mode, self.uid, self.gid),
            &self.header_secret,
            &self.headers,
        );
        Ok(format!("http:{}", sha256(go_json(&parts)?.as_bytes())))
    }

    /// BuildKit's cache key of a file with this name and content.
    pub(super) fn cache_key(
        &self,
        filename: &str,
        digest: &Digest,
        modified: Option<String>,
    ) -> Result<String, SourceError> {
        let text = go_json(&KeyText {
            filename,
            perm: self.mode,
            uid: self.uid,
            gid: self.gid,
            checksum: digest.as_ref(),
            modified,
            header_secret: &self.header_secret,
            headers: &self.headers,
        })?;
        Ok(sha256(text.as_bytes()))
    }
}

/// The text that BuildKit hashes for a key; the fields and their order are its.
#[derive(Serialize)]
struct KeyText<'a> {
    #[serde(rename = "Filename")]
    filename: &'a str,
    #[serde(rename = "Perm")]
    perm: u32,
    #[serde(rename = "UID")]
    uid: u32,
    #[serde(rename = "GID")]
    gid: u32,
    #[serde(rename = "Checksum")]
    checksum: &'a str,
    #[serde(rename = "LastModTime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(rename = "AuthHeaderSecret", skip_serializing_if = "str::is_empty")]
    header_secret: &'a str,
    #[serde(rename = "Header", skip_serializing_if = "<[Header]>::is_empty")]
    headers: &'a [Header],
}
