//! The client's side of a lent directory: what is sent of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::filesync::file_sync_server::FileSync;
use kiln_protocol::fsutil::Packet;
use kiln_store::walk::{Filter, WalkRoot, follow};
use tonic::{Request, Response, Status, Streaming};

use super::error::TransferError;
use super::link::Link;
use super::remote::RemoteDirectory;
use super::request::DirectoryRequest;
use super::send::{Announced, OutgoingTree, Owners, Sockets, StopFlag, send};

/// Lends directories to a daemon, by name: the `FileSync` service.
pub struct LentDirectories {
    directories: BTreeMap<String, PathBuf>,
}

impl LentDirectories {
    /// Lends these.
    pub fn new(directories: BTreeMap<String, PathBuf>) -> Self {
        Self { directories }
    }
}

#[tonic::async_trait]
impl FileSync for LentDirectories {
    type DiffCopyStream = BoxStream<'static, Result<Packet, Status>>;
    type TarStreamStream = BoxStream<'static, Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let (name, wanted) = DirectoryRequest::from_metadata(request.metadata())?;
        let Some(path) = self.directories.get(&name).cloned() else {
            return Err(Status::not_found(format!(
                "no access allowed to dir {name:?}"
            )));
        };
        let (link, outbound) = Link::new(request.into_inner());
        tokio::spawn(lend(link, path, wanted));
        Ok(Response::new(outbound.boxed()))
    }

    async fn tar_stream(
        &self,
        _request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented(
            "FileSync/TarStream is not supported; directories are sent by FileSync/DiffCopy",
        ))
    }
}

/// A directory of this machine that is sent like one of another.
pub struct NearbyDirectory(pub PathBuf);

#[async_trait::async_trait]
impl RemoteDirectory for NearbyDirectory {
    fn shared_key(&self) -> &str {
        ""
    }

    async fn open(&self, request: &DirectoryRequest) -> Result<Link, Status> {
        let (here, there) = Link::pair();
        tokio::spawn(lend(there, self.0.clone(), request.clone()));
        Ok(here)
    }
}

/// Sends what is wanted of a directory; the other side hears of errors.
async fn lend(link: Link, path: PathBuf, wanted: DirectoryRequest) {
    let make = move |stop: &StopFlag| scan(&path, &wanted, stop);
    send(link, make, Arc::new(|_| {})).await.ok();
}

fn scan(
    path: &Path,
    wanted: &DirectoryRequest,
    stop: &StopFlag,
) -> Result<OutgoingTree, TransferError> {
    let failed = |action, error: rustix::io::Errno| TransferError::File {
        action,
        path: path.to_owned(),
        source: error.into(),
    };
    let root = WalkRoot::open(path).map_err(|error| failed("open", error))?;
    let followed = match &wanted.follow {
        Some(paths) => follow(&root, paths).map_err(|error| failed("follow paths in", error))?,
        None => None,
    };
    let filter = Filter::new(
        wanted.include.as_deref().unwrap_or_default(),
        followed,
        wanted.exclude.as_deref().unwrap_or_default(),
    )?;
    let announced = Announced {
        owners: Owners::Root,
        mtime: None,
        sockets: Sockets::EmptyFiles,
    };
    OutgoingTree::scan(root, &filter, announced, stop)
}
