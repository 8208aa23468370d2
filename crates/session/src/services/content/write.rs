//! Takes one blob into a layout directory.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use kiln_protocol::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use oci_spec::image::Digest;
use ring::digest;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::blobs::{Blobs, failed, parse};
use super::blocking;

/// What is written where a daemon does not say what it will be.
const ALGORITHM: &str = "sha256";

/// Serves one `Write` call.
pub(super) async fn serve(
    store: Blobs,
    mut requests: Streaming<WriteContentRequest>,
    answers: mpsc::Sender<Result<WriteContentResponse, Status>>,
) {
    let mut blob: Option<Incoming> = None;
    while let Ok(Some(request)) = requests.message().await {
        let is_end = request.action() == WriteAction::Commit;
        let (store, incoming) = (store.clone(), blob.take());
        let taken = blocking(move || {
            let incoming = match incoming {
                Some(incoming) => incoming,
                None => Incoming::begin(store, &request)?,
            };
            incoming.take(request)
        });
        let answer = match taken.await {
            Ok((incoming, answer)) => {
                blob = incoming;
                Ok(answer)
            }
            Err(status) => Err(status),
        };
        let is_end = is_end || answer.is_err();
        if answers.send(answer).await.is_err() || is_end {
            return;
        }
    }
}

/// A blob on its way, in a file that is removed unless the blob is committed.
struct Incoming {
    store: Blobs,
    file: NamedTempFile,
    hash: digest::Context,
    algorithm: String,
    offset: u64,
    total: u64,
    expected: Option<Digest>,
}

impl Incoming {
    fn begin(store: Blobs, request: &WriteContentRequest) -> Result<Self, Status> {
        if request.r#ref.is_empty() {
            return Err(Status::invalid_argument(
                "first message must have a reference",
            ));
        }
        let expected = match request.expected.as_str() {
            "" => None,
            text => Some(parse(text)?),
        };
        let algorithm = expected.as_ref().map_or(ALGORITHM.to_owned(), |digest| {
            digest.algorithm().to_string()
        });
        let hash = match algorithm.as_str() {
            "sha256" => &digest::SHA256,
            "sha384" => &digest::SHA384,
            "sha512" => &digest::SHA512,
            other => {
                return Err(Status::invalid_argument(format!(
                    "digests of kind {other} cannot be checked"
                )));
            }
        };
        let folder = store.folder(&algorithm);
        let file = fs::create_dir_all(&folder).and_then(|()| {
            tempfile::Builder::new()
                .prefix(".kiln-")
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(&folder)
        });
        Ok(Self {
            file: file.map_err(|error| failed(&folder, &error))?,
            hash: digest::Context::new(hash),
            algorithm,
            offset: 0,
            total: 0,
            expected,
            store,
        })
    }

    /// Does what a message asks. After a commit there is nothing left to be done.
    fn take(
        mut self,
        request: WriteContentRequest,
    ) -> Result<(Option<Self>, WriteContentResponse), Status> {
        if !request.expected.is_empty() {
            let expected = parse(&request.expected)?;
            if self.store.path(&expected).is_file() {
                return Err(Status::already_exists(format!(
                    "blob with expected digest {expected} exists"
                )));
            }
            self.expected = Some(expected);
        }
        if let Ok(total @ 1..) = u64::try_from(request.total) {
            self.total = total;
        }
        let action = request.action();
        if action != WriteAction::Stat {
            self.write(&request)?;
        }
        let mut answer = WriteContentResponse {
            action: action.into(),
            offset: self.offset as i64,
            total: self.total as i64,
            ..WriteContentResponse::default()
        };
        if action == WriteAction::Commit {
            answer.digest = self.commit()?.to_string();
            return Ok((None, answer));
        }
        Ok((Some(self), answer))
    }

    fn write(&mut self, request: &WriteContentRequest) -> Result<(), Status> {
        let offset = u64::try_from(request.offset).unwrap_or(0);
        if offset != self.offset {
            return Err(Status::out_of_range(format!(
                "write @{offset} must occur at current offset {}",
                self.offset
            )));
        }
        let length = request.data.len() as u64;
        if self.total > 0 && self.offset + length > self.total {
            return Err(Status::out_of_range(format!(
                "more than the {} bytes that were announced",
                self.total
            )));
        }
        let written = self.file.write_all(&request.data);
        written.map_err(|error| failed(self.file.path(), &error))?;
        self.hash.update(&request.data);
        self.offset += length;
        Ok(())
    }

    /// Moves the blob to its place, if it is what it should be.
    fn commit(self) -> Result<Digest, Status> {
        if self.total > 0 && self.offset != self.total {
            return Err(Status::failed_precondition(format!(
                "unexpected commit size {}, expected {}: failed precondition",
                self.offset, self.total
            )));
        }
        let hash = self.hash.finish();
        let hex: String = hash
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let found = parse(&format!("{}:{hex}", self.algorithm))?;
        if self
            .expected
            .as_ref()
            .is_some_and(|expected| *expected != found)
        {
            return Err(Status::failed_precondition(format!(
                "unexpected commit digest {found}, expected {}: failed precondition",
                self.expected
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            )));
        }
        let path = self.store.path(&found);
        let placed = self
            .file
            .as_file()
            .set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| {
                self.file
                    .persist(&path)
                    .map(drop)
                    .map_err(|error| error.error)
            });
        placed.map_err(|error| failed(&path, &error))?;
        Ok(found)
    }
}
