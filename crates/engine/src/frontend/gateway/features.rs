//! What a frontend can ask for: the capabilities that `Ping` announces.

use kiln_llb::caps;
use kiln_protocol::apicaps::ApiCap;

/// Capabilities of this API, all there.
const API: [&str; 27] = [
    "frontend.caps",
    "frontend.inputs",
    "gateway.evaluate",
    "gateway.exec",
    "gateway.exec.extrahosts",
    "gateway.exec.filesystem",
    "gateway.exec.secretenv",
    "gateway.exec.signals",
    "gateway.solve.evaluate",
    "gateway.solve.metadata",
    "gateway.warnings",
    "importcaches",
    "proto.refarray",
    "readdir",
    "readfile",
    "reference.attestations",
    "reference.output",
    "resolveimage",
    "resolveimage.resolvemode",
    "return",
    "returnmap",
    "solve.base",
    "solve.inlinereturn",
    "source.metaresolver",
    "source.metaresolver.http.checksumrequest",
    "source.metaresolver.image.attestations",
    "statfile",
];

/// What is not there yet. It is announced as switched off, which clients report better than a name that is missing.
const MISSING: [&str; 1] = ["solve.inlinereturn"];

/// The capabilities of this API.
pub(super) fn api() -> Vec<ApiCap> {
    API.iter().map(|name| cap(name)).collect()
}

/// The capabilities of LLB: all that there are.
pub(super) fn llb() -> Vec<ApiCap> {
    let mut names = caps::ALL.to_vec();
    names.sort_unstable();
    names.into_iter().map(cap).collect()
}

fn cap(name: &str) -> ApiCap {
    let is_missing = MISSING.contains(&name);
    ApiCap {
        id: name.to_owned(),
        enabled: !is_missing,
        disabled_reason_msg: match is_missing {
            true => "not supported yet".to_owned(),
            false => String::new(),
        },
        ..ApiCap::default()
    }
}
