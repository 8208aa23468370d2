//! Attestations of frontends, as exporters take them.

use futures::future::try_join_all;
use kiln_exporter::{
    Attestation, AttestationContent, AttestationKind, AttestationSubject, SubjectKind,
};
use kiln_protocol::frontend::{self, InTotoSubject, InTotoSubjectKind};
use oci_spec::image::Digest;

use super::result::{self, FrontendResult};
use crate::error::{BuildError, Kind};

/// What a frontend says of one of its results.
pub(super) async fn of(result: &FrontendResult, id: &str) -> Result<Vec<Attestation>, BuildError> {
    let statements = result.attestations.get(id).into_iter().flatten();
    try_join_all(statements.map(attestation)).await
}

async fn attestation(said: &result::Attestation) -> Result<Attestation, BuildError> {
    let files = match &said.files {
        Some(files) => files.output().await?,
        None => None,
    };
    let statement = &said.statement;
    let kind = match frontend::AttestationKind::try_from(statement.kind) {
        Ok(frontend::AttestationKind::InToto) => AttestationKind::InToto,
        Ok(frontend::AttestationKind::Bundle) => AttestationKind::Bundle,
        Err(_) => return Err(unknown("attestation kind", statement.kind)),
    };
    let subjects = statement.in_toto_subjects.iter().map(subject);
    Ok(Attestation {
        kind,
        path: statement.path.clone(),
        content: AttestationContent::Tree(files),
        predicate_type: statement.in_toto_predicate_type.clone(),
        subjects: subjects.collect::<Result<_, _>>()?,
        metadata: statement.metadata.clone(),
    })
}

fn subject(wire: &InTotoSubject) -> Result<AttestationSubject, BuildError> {
    let kind = match InTotoSubjectKind::try_from(wire.kind) {
        Ok(InTotoSubjectKind::Self_) => SubjectKind::Result,
        Ok(InTotoSubjectKind::Raw) => SubjectKind::Other,
        Err(_) => return Err(unknown("attestation subject kind", wire.kind)),
    };
    let digests = wire.digest.iter().map(|digest| {
        let parsed = digest.parse::<Digest>();
        parsed.map_err(|error| BuildError::wrap(Kind::Input, error).context(digest))
    });
    Ok(AttestationSubject {
        kind,
        name: wire.name.clone(),
        digests: digests.collect::<Result<_, _>>()?,
    })
}

fn unknown(what: &str, number: i32) -> BuildError {
    BuildError::new(Kind::Input, format!("unknown {what} {number}"))
}
