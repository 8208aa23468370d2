//! Leases: what they hold is no garbage.

use std::time::Duration;

use kiln_protocol::containerd_leases::leases_client::LeasesClient;
use kiln_protocol::containerd_leases::{
    AddResourceRequest, CreateRequest, DeleteRequest, Resource,
};
use oci_spec::image::Digest;
use tonic::metadata::AsciiMetadataValue;

use crate::connection::header;
use crate::{Containerd, ContainerdError};

/// containerd ends the lease by itself at this time.
const EXPIRES: &str = "containerd.io/gc.expire";

/// A lease. It ends when it is released or dropped, and by itself after some time if this process dies.
#[derive(Debug)]
pub struct Lease {
    containerd: Containerd,
    id: String,
    header: AsciiMetadataValue,
    is_released: bool,
}

impl Containerd {
    /// Begins a lease that lasts at most so long.
    pub async fn lease(&self, longest: Duration) -> Result<Lease, ContainerdError> {
        let until = jiff::Timestamp::now().checked_add(longest);
        let until = until.unwrap_or(jiff::Timestamp::MAX);
        let mut client = LeasesClient::new(self.channel.clone());
        let request = self.request(CreateRequest {
            id: format!("kiln-{}", random()),
            labels: [(EXPIRES.to_owned(), format!("{until:.0}"))].into(),
        });
        let what = "begin a lease";
        let answer = self.ask(what, client.create(request)).await?;
        let id = answer.lease.unwrap_or_default().id;
        Ok(Lease {
            header: header("lease", &id)?,
            containerd: self.clone(),
            id,
            is_released: false,
        })
    }
}

impl Lease {
    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn header(&self) -> &AsciiMetadataValue {
        &self.header
    }

    /// Holds a blob, whether or not it is there yet.
    pub async fn hold_blob(&self, digest: &Digest) -> Result<(), ContainerdError> {
        self.hold("content".into(), digest.to_string()).await
    }

    /// Holds a snapshot, whether or not it is there yet.
    pub async fn hold_snapshot(
        &self,
        snapshotter: &str,
        name: &str,
    ) -> Result<(), ContainerdError> {
        self.hold(format!("snapshots/{snapshotter}"), name.to_owned())
            .await
    }

    async fn hold(&self, r#type: String, id: String) -> Result<(), ContainerdError> {
        let what = format!("hold {type} {id}");
        let request = AddResourceRequest {
            id: self.id.clone(),
            resource: Some(Resource { id, r#type }),
        };
        let mut client = LeasesClient::new(self.containerd.channel.clone());
        let call = client.add_resource(self.containerd.request(request));
        self.containerd.ask(&what, call).await
    }

    /// Ends the lease.
    pub async fn release(mut self) -> Result<(), ContainerdError> {
        self.is_released = true;
        end(self.containerd.clone(), self.id.clone()).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_released {
            return;
        }
        let (containerd, id) = (self.containerd.clone(), self.id.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = end(containerd, id).await {
                tracing::debug!(%error, "a lease is left to expire");
            }
        });
    }
}

async fn end(containerd: Containerd, id: String) -> Result<(), ContainerdError> {
    let what = format!("end lease {id}");
    let mut client = LeasesClient::new(containerd.channel.clone());
    let request = containerd.request(DeleteRequest { id, sync: false });
    match containerd.ask(&what, client.delete(request)).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// A name that nobody else makes.
pub(crate) fn random() -> String {
    let mut bytes = [0; 12];
    // Fails only on kernels that cannot make random numbers yet; the time is then different enough.
    if rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).is_err() {
        let now = jiff::Timestamp::now().as_nanosecond();
        bytes.copy_from_slice(&now.to_le_bytes()[..12]);
    }
    hex::encode(bytes)
}
