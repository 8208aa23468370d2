//! What an image source op asks for.

use std::collections::BTreeMap;

use kiln_registry::Reference;
use kiln_store::RecordType;
use oci_spec::image::{Digest, Platform};

use crate::attribute::{invalid, positive};
use crate::error::SourceError;

/// Where to look for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResolveMode {
    /// In the registry; among the images of this store if that fails.
    #[default]
    Default,
    /// In the registry.
    Pull,
    /// Among the images of this store; in the registry if it is not there.
    Local,
}

impl ResolveMode {
    /// Reads `default`, `pull` or `local`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        match text {
            "" | "default" => Ok(Self::Default),
            "pull" => Ok(Self::Pull),
            "local" => Ok(Self::Local),
            _ => Err(invalid(
                "resolvemode:",
                text,
                ": write default, pull or local".to_owned(),
            )),
        }
    }
}

/// A `docker-image://` source.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageIdentifier {
    /// The image.
    pub reference: Reference,
    /// The platform, as the op has it; it is part of the cache key.
    pub platform: Platform,
    /// Where to look.
    pub resolve_mode: ResolveMode,
    /// What the layers count as in `du`.
    pub record_type: RecordType,
    /// Use this many of the lowest layers.
    pub layer_limit: Option<usize>,
    /// Refuse any other image.
    pub checksum: Option<Digest>,
}

impl ImageIdentifier {
    /// An image with nothing special asked of it.
    pub fn new(reference: Reference, platform: Platform) -> Self {
        Self {
            reference,
            platform,
            resolve_mode: ResolveMode::default(),
            record_type: RecordType::default(),
            layer_limit: None,
            checksum: None,
        }
    }

    /// Reads the part of the URL after `docker-image://`, and the attributes. Attributes
    /// that are not known are ignored, as the protocol has it.
    pub fn parse(
        text: &str,
        attributes: &BTreeMap<String, String>,
        platform: Platform,
    ) -> Result<Self, SourceError> {
        let mut identifier = Self::new(parse_reference(text)?, platform);
        for (key, value) in attributes {
            match key.as_str() {
                "image.resolvemode" => identifier.resolve_mode = ResolveMode::parse(value)?,
                "image.recordtype" => identifier.record_type = parse_record_type(value)?,
                "image.layerlimit" => {
                    identifier.layer_limit = Some(positive("layer limit", value)?)
                }
                "image.checksum" => {
                    let digest = value.parse();
                    let digest = digest
                        .map_err(|error| invalid("image checksum", value, format!(": {error}")))?;
                    identifier.checksum = Some(digest);
                }
                _ => {}
            }
        }
        Ok(identifier)
    }
}

/// An `oci-layout://` source.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutIdentifier {
    /// The image: a tag of the layout or, first, a digest. The name is for people.
    pub reference: Reference,
    /// The platform, as the op has it; it is part of the cache key.
    pub platform: Platform,
    /// The session that lends the layout; any, if empty.
    pub session_id: String,
    /// The name under which it lends it.
    pub store_id: String,
    /// Use this many of the lowest layers.
    pub layer_limit: Option<usize>,
}

impl LayoutIdentifier {
    /// Reads the part of the URL after `oci-layout://`, and the attributes.
    pub fn parse(
        text: &str,
        attributes: &BTreeMap<String, String>,
        platform: Platform,
    ) -> Result<Self, SourceError> {
        let mut identifier = Self {
            reference: parse_reference(text)?,
            platform,
            session_id: String::new(),
            store_id: String::new(),
            layer_limit: None,
        };
        for (key, value) in attributes {
            match key.as_str() {
                "oci.session" => identifier.session_id.clone_from(value),
                "oci.store" => identifier.store_id.clone_from(value),
                "oci.layerlimit" => identifier.layer_limit = Some(positive("layer limit", value)?),
                _ => {}
            }
        }
        Ok(identifier)
    }
}

pub(super) fn parse_reference(text: &str) -> Result<Reference, SourceError> {
    Reference::parse(text)
        .map(Reference::with_default_tag)
        .map_err(|source| SourceError::Reference {
            text: text.to_owned(),
            source,
        })
}

pub(super) fn parse_record_type(value: &str) -> Result<RecordType, SourceError> {
    match value {
        "" | "regular" => Ok(RecordType::Regular),
        "internal" => Ok(RecordType::Internal),
        "frontend" => Ok(RecordType::Frontend),
        _ => Err(invalid("record type", value, String::new())),
    }
}
