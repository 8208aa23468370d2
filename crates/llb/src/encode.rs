//! The one way to encode an op.

use bytes::Bytes;
use kiln_protocol::pb;
use prost::Message as _;

/// Encodes `op` as every client of the protocol does: the action after all other fields, although its field numbers are
/// lower. Protobuf leaves the order open; digests do not.
pub fn encode_op(op: &pb::Op) -> Bytes {
    let frame = pb::Op {
        op: None,
        ..op.clone()
    };
    let mut bytes = frame.encode_to_vec();
    if let Some(action) = &op.op {
        action.encode(&mut bytes);
    }
    bytes.into()
}
