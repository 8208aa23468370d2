//! What git repositories and files of web servers are.

use kiln_llb::{pb, redact};
use kiln_protocol::frontend::checksum_request::ChecksumAlgo;
use kiln_protocol::frontend::{
    ChecksumRequest as WireChecksumRequest, ChecksumResponse, ResolveSourceGitResponse,
    ResolveSourceHttpResponse, ResolveSourceMetaResponse,
};
use kiln_source::git::GitDirectory;
use kiln_source::{ChecksumAlgorithm, ChecksumRequest, GitIdentifier};
use prost_types::Timestamp;

use super::invalid;
use crate::bridge::Bridge;
use crate::error::BuildError;
use crate::remote_sources::{FoundRevision, ObjectsWanted, Remote};

impl Bridge {
    /// A repository, or a file of a web server.
    pub(super) async fn describe_remote(
        &self,
        (remote, source): (Remote, pb::SourceOp),
        (wanted, checksum): (ObjectsWanted, Option<WireChecksumRequest>),
        log_name: String,
    ) -> Result<ResolveSourceMetaResponse, BuildError> {
        let name = match log_name.as_str() {
            "" => format!("resolve {}", redact::credentials(&source.identifier)),
            name => name.to_owned(),
        };
        let mut response = ResolveSourceMetaResponse {
            source: Some(source),
            ..ResolveSourceMetaResponse::default()
        };
        match remote {
            Remote::Git(git) => {
                let found = self.revision(&git, wanted, &name).await?;
                response.git = Some(git_response(&git, found));
            }
            Remote::Http(http) => {
                let wanted = checksum.as_ref().map(checksum_request).transpose()?;
                let (file, further) = self.file(&http, wanted, &name).await?;
                let modified = file.modified();
                response.http = Some(ResolveSourceHttpResponse {
                    checksum: file.digest.to_string(),
                    filename: file.filename().to_owned(),
                    last_modified: modified.map(|seconds| Timestamp { seconds, nanos: 0 }),
                    checksum_response: further.map(|digest| ChecksumResponse {
                        digest,
                        suffix: checksum.unwrap_or_default().suffix,
                    }),
                });
            }
        }
        Ok(response)
    }
}

/// What is said of a revision: that it is a tag only if its commit is not its name for all purposes.
fn git_response(git: &GitIdentifier, found: FoundRevision) -> ResolveSourceGitResponse {
    let FoundRevision { revision, objects } = found;
    let mut response = ResolveSourceGitResponse {
        checksum: revision.checksum,
        r#ref: revision.reference,
        ..ResolveSourceGitResponse::default()
    };
    match objects {
        Some(objects) => {
            if let Some(tag) = objects.tag {
                response.commit_checksum = objects.commit_name;
                response.tag_object = tag;
            }
            response.commit_object = objects.commit;
        }
        None if git.git_directory == GitDirectory::Dropped => {
            response.commit_checksum = revision.commit.unwrap_or_default();
        }
        None => {}
    }
    response
}

fn checksum_request(wire: &WireChecksumRequest) -> Result<ChecksumRequest, BuildError> {
    let algorithm = match ChecksumAlgo::try_from(wire.algo) {
        Ok(ChecksumAlgo::Sha256) => ChecksumAlgorithm::Sha256,
        Ok(ChecksumAlgo::Sha384) => ChecksumAlgorithm::Sha384,
        Ok(ChecksumAlgo::Sha512) => ChecksumAlgorithm::Sha512,
        Err(_) => {
            let number = wire.algo;
            return Err(invalid(format!("unsupported checksum algorithm {number}")));
        }
    };
    let limit = ChecksumRequest::MAX_SUFFIX;
    if wire.suffix.len() > limit {
        return Err(invalid(format!(
            "http checksum request suffix exceeds max size {limit}"
        )));
    }
    Ok(ChecksumRequest {
        algorithm,
        suffix: wire.suffix.clone(),
    })
}
