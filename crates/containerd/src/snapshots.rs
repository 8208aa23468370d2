//! containerd's snapshots: file systems by name, one upon the other.

use std::collections::BTreeMap;

use kiln_protocol::containerd_diff::ApplyRequest;
use kiln_protocol::containerd_diff::diff_client::DiffClient;
use kiln_protocol::containerd_snapshots::snapshots_client::SnapshotsClient;
use kiln_protocol::containerd_snapshots::{
    CommitSnapshotRequest, Info, Kind, PrepareSnapshotRequest, RemoveSnapshotRequest,
    StatSnapshotRequest,
};
pub use kiln_protocol::containerd_types::Mount;
use oci_spec::image::Descriptor;
use tonic::transport::Channel;

use crate::images::descriptor;
use crate::{Containerd, ContainerdError};

/// What is known of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// What it is upon; empty if nothing.
    pub parent: String,
    /// Whether it is finished.
    pub kind: SnapshotKind,
    /// What is said of it.
    pub labels: BTreeMap<String, String>,
}

/// What a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Can be written to.
    Active,
    /// Can be looked at only, and has no name of its own.
    View,
    /// Finished.
    Committed,
}

/// The snapshots of one snapshotter in a namespace.
#[derive(Clone, Debug)]
pub struct Snapshotter {
    pub(crate) containerd: Containerd,
    name: String,
}

impl Snapshotter {
    pub(crate) fn new(containerd: Containerd, name: &str) -> Result<Self, ContainerdError> {
        let is_known =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_known) {
            return Err(ContainerdError::Name {
                what: "snapshotter",
                name: name.to_owned(),
                reason: "write its name as `ctr plugins ls` shows it, such as overlayfs",
            });
        }
        Ok(Self {
            containerd,
            name: name.to_owned(),
        })
    }

    /// The snapshotter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn client(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.containerd.channel.clone())
    }

    /// What is known of a snapshot; `None` if it is not there.
    pub async fn stat(&self, key: &str) -> Result<Option<SnapshotInfo>, ContainerdError> {
        let what = format!("look up snapshot {key} of {}", self.name);
        let request = self.containerd.request(StatSnapshotRequest {
            snapshotter: self.name.clone(),
            key: key.to_owned(),
        });
        let answer = self
            .containerd
            .ask(&what, self.client().stat(request))
            .await;
        match answer {
            Ok(answer) => Ok(Some(read(answer.info.unwrap_or_default()))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a snapshot upon another one (`""` for upon nothing), and answers how to mount it.
    pub async fn prepare(&self, key: &str, parent: &str) -> Result<Vec<Mount>, ContainerdError> {
        let what = format!("prepare snapshot {key} of {}", self.name);
        let request = self.containerd.request(PrepareSnapshotRequest {
            snapshotter: self.name.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            ..PrepareSnapshotRequest::default()
        });
        let call = async { self.client().prepare(request).await };
        Ok(self.containerd.ask(&what, call).await?.mounts)
    }

    /// Finishes a snapshot under a name.
    pub async fn commit(&self, name: &str, key: &str) -> Result<(), ContainerdError> {
        let what = format!("commit snapshot {name} of {}", self.name);
        let request = self.containerd.request(CommitSnapshotRequest {
            snapshotter: self.name.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
            ..CommitSnapshotRequest::default()
        });
        let call = async { self.client().commit(request).await };
        self.containerd.ask(&what, call).await
    }

    /// Removes a snapshot, on which there must be no other.
    pub async fn remove(&self, key: &str) -> Result<(), ContainerdError> {
        let what = format!("remove snapshot {key} of {}", self.name);
        let request = self.containerd.request(RemoveSnapshotRequest {
            snapshotter: self.name.clone(),
            key: key.to_owned(),
        });
        let call = async { self.client().remove(request).await };
        self.containerd.ask(&what, call).await
    }

    /// Has containerd unpack a layer, a blob that it has, over mounts; answers the digest of the layer's tar.
    pub async fn apply(
        &self,
        layer: &Descriptor,
        mounts: Vec<Mount>,
    ) -> Result<String, ContainerdError> {
        let what = format!("unpack layer {}", layer.digest());
        let request = self.containerd.request(ApplyRequest {
            diff: Some(descriptor(layer)),
            mounts,
        });
        let mut client = DiffClient::new(self.containerd.channel.clone());
        let answer = self.containerd.ask(&what, client.apply(request)).await?;
        Ok(answer.applied.unwrap_or_default().digest)
    }
}

fn read(info: Info) -> SnapshotInfo {
    let kind = match info.kind() {
        Kind::Committed => SnapshotKind::Committed,
        Kind::View => SnapshotKind::View,
        Kind::Active | Kind::Unknown => SnapshotKind::Active,
    };
    SnapshotInfo {
        name: info.name,
        parent: info.parent,
        kind,
        labels: info.labels,
    }
}
