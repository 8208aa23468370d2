//! A containerd and blobs to give to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_containerd::{Address, BlobToWrite, Containerd, DEFAULT_NAMESPACE, Lease};
use kiln_testkit::containerd::Containerd as Server;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) containerd: Containerd,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let server = Server::start().unwrap();
        let containerd = client(&server.socket());
        Self { server, containerd }
    }

    pub(crate) async fn lease(&self) -> Lease {
        let hour = Duration::from_secs(3600);
        self.containerd.lease(hour).await.unwrap()
    }

    /// Has the garbage collected, as deleting an image does.
    pub(crate) fn collect(&self) {
        self.server
            .ctr(&["content", "prune", "references"])
            .unwrap();
    }

    pub(crate) fn blobs(&self) -> Vec<String> {
        let list = self.server.ctr(&["content", "ls", "-q"]).unwrap();
        list.lines().map(str::to_owned).collect()
    }
}

pub(crate) fn client(socket: &Path) -> Containerd {
    let address: Address = format!("unix://{}", socket.display()).parse().unwrap();
    Containerd::new(&address, DEFAULT_NAMESPACE).unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let text = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    text.parse().unwrap()
}

pub(crate) fn blob(bytes: &[u8]) -> BlobToWrite {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    of_file(file, digest(bytes))
}

pub(crate) fn of_file(file: File, digest: Digest) -> BlobToWrite {
    BlobToWrite {
        digest,
        size: file.metadata().unwrap().len(),
        labels: BTreeMap::new(),
        file: Arc::new(file),
    }
}

/// Bytes that no two places of are alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
