//! A definition: encoded ops with what is said about them.

use crate::digest::digest_of;
use bytes::Bytes;
use kiln_protocol::pb;
use oci_spec::image::Digest;
use prost::Message as _;
use std::collections::BTreeMap;

/// A whole build graph as it travels: encoded ops, inputs before their users, the last one naming
/// the result. An empty list of ops means an empty (scratch) result.
///
/// The bytes of an op are its identity, so they are kept as received and never encoded again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// Encoded ops.
    pub ops: Vec<Bytes>,
    /// Facts about ops that are not part of their identity, by digest.
    pub metadata: BTreeMap<String, pb::OpMetadata>,
    /// Which source lines the ops came from.
    pub source: Option<pb::Source>,
}

/// Bytes that are no definition.
#[derive(Debug, thiserror::Error)]
#[error("not an LLB definition: {0}")]
pub struct DecodeError(#[from] prost::DecodeError);

impl Definition {
    /// The message as clients of the field can take it. Encoded, an empty value of a map is no
    /// value, which they take for a null pointer and follow: ops without source lines are left out.
    pub fn to_wire(&self) -> pb::Definition {
        let mut wire = pb::Definition::from(self.clone());
        if let Some(source) = &mut wire.source {
            source
                .locations
                .retain(|_, locations| !locations.locations.is_empty());
        }
        wire
    }

    /// Reads an encoded `pb.Definition`.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Ok(pb::Definition::decode(bytes)?.into())
    }

    /// Encodes this as a `pb.Definition`.
    pub fn encode(&self) -> Bytes {
        pb::Definition::from(self.clone()).encode_to_vec().into()
    }

    /// Whether the result is an empty filesystem.
    pub fn is_scratch(&self) -> bool {
        self.ops.is_empty()
    }

    /// The digest of the op whose output is the result; none for scratch or a malformed tail.
    pub fn head(&self) -> Option<Digest> {
        let terminal = pb::Op::decode(self.ops.last()?.clone()).ok()?;
        terminal.inputs.first()?.digest.parse().ok()
    }

    /// The ops with their digests, in order.
    pub fn digests(&self) -> impl Iterator<Item = (Digest, &Bytes)> {
        self.ops.iter().map(|bytes| (digest_of(bytes), bytes))
    }
}

impl From<pb::Definition> for Definition {
    fn from(wire: pb::Definition) -> Self {
        Self {
            ops: wire.def,
            metadata: wire.metadata,
            source: wire.source,
        }
    }
}

impl From<Definition> for pb::Definition {
    fn from(definition: Definition) -> Self {
        Self {
            def: definition.ops,
            metadata: definition.metadata,
            source: definition.source,
        }
    }
}
