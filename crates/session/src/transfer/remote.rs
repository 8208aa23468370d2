//! Directories of a client on another machine, over the session's channel.

use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use kiln_protocol::filesync::file_sync_client::FileSyncClient;
use kiln_protocol::fsutil::Packet;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Extensions, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::link::{CallPackets, Link};
use super::request::DirectoryRequest;

/// The largest message taken: as much as clients of the field may send.
pub(super) const MAX_MESSAGE: usize = 16 << 20;

/// A directory that a client on another machine lends.
#[async_trait::async_trait]
pub trait RemoteDirectory: Send + Sync {
    /// What the client's directories are known by beyond one session; may be empty.
    fn shared_key(&self) -> &str;

    /// Begins a transfer, in which the client sends and this side receives.
    async fn open(&self, request: &DirectoryRequest) -> Result<Link, Status>;
}

/// What becomes of files that are in the client's directory but not in what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Keep,
    /// They are removed.
    Remove,
}

/// A directory of a client on another machine that takes a build's result.
#[async_trait::async_trait]
pub trait RemoteTarget: Send + Sync {
    /// Begins a transfer, in which this side sends and the client receives.
    async fn open(&self, others: Others) -> Result<Link, Status>;
}

/// A lent directory over gRPC.
pub struct ChannelDirectory {
    /// Leads to the client's services.
    pub channel: Channel,
    /// The name it is lent under.
    pub name: String,
    /// The session's shared key.
    pub shared_key: String,
}

#[async_trait::async_trait]
impl RemoteDirectory for ChannelDirectory {
    fn shared_key(&self) -> &str {
        &self.shared_key
    }

    async fn open(&self, request: &DirectoryRequest) -> Result<Link, Status> {
        let metadata = request.to_metadata(&self.name)?;
        let channel = self.channel.clone();
        Ok(start(move |packets| {
            pull(channel, metadata, packets).boxed()
        }))
    }
}

/// A client's export directory over gRPC.
pub struct ChannelTarget {
    /// Leads to the client's services.
    pub channel: Channel,
    /// The number of the export in the client's request.
    pub exporter_id: u32,
}

#[async_trait::async_trait]
impl RemoteTarget for ChannelTarget {
    async fn open(&self, others: Others) -> Result<Link, Status> {
        let mut metadata = MetadataMap::new();
        metadata.insert(super::EXPORTER_ID, self.exporter_id.into());
        if others == Others::Remove {
            metadata.insert(super::WHOLE_RESULT, AsciiMetadataValue::from_static("1"));
        }
        let channel = self.channel.clone();
        Ok(start(move |packets| {
            deliver(channel, metadata, packets).boxed()
        }))
    }
}

async fn pull(
    channel: Channel,
    metadata: MetadataMap,
    packets: CallPackets,
) -> Result<Streaming<Packet>, Status> {
    let mut client = FileSyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let request = Request::from_parts(metadata, Extensions::default(), packets);
    Ok(client.diff_copy(request).await?.into_inner())
}

/// The service's messages are other ones, which carry archives; a directory's packets go over the
/// same method.
async fn deliver(
    channel: Channel,
    metadata: MetadataMap,
    packets: CallPackets,
) -> Result<Streaming<Packet>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::from_parts(metadata, Extensions::default(), packets);
    let path = PathAndQuery::from_static("/moby.filesync.v1.FileSend/DiffCopy");
    let codec = ProstCodec::<Packet, Packet>::default();
    let answer = grpc.streaming(request, path, codec).await?;
    Ok(answer.into_inner())
}

/// A link whose call is made when its first packet is waited for: a server that receives sends
/// not even headers before something has come.
fn start(
    call: impl FnOnce(CallPackets) -> BoxFuture<'static, Result<Streaming<Packet>, Status>>,
) -> Link {
    Link::through(|outbound| {
        stream::once(call(outbound.of_call())).flat_map(|opened| match opened {
            Ok(packets) => packets.boxed(),
            Err(status) => stream::once(async { Err(status) }).boxed(),
        })
    })
}
