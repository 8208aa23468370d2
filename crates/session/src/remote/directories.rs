//! Directories of the client: those that it lends, and those that take a result.

use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use http::uri::PathAndQuery;
use kiln_protocol::filesync::file_sync_client::FileSyncClient;
use kiln_protocol::fsutil::Packet;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Extensions, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{Calls, EXPORTER};
use crate::SessionError;
use crate::transfer::{
    CallPackets, DirectoryRequest, Link, Others, RemoteDirectory, RemoteTarget, WHOLE_RESULT,
};
use crate::tunnel::MESSAGE_LIMIT;

const LENT: &str = "/moby.filesync.v1.FileSync/DiffCopy";
const TARGET: &str = "/moby.filesync.v1.FileSend/DiffCopy";

/// A directory that is lent.
pub(super) struct Lent {
    calls: Calls,
    name: String,
}

impl Lent {
    pub(super) fn new(calls: &Calls, name: &str) -> Result<Self, SessionError> {
        calls.require(LENT)?;
        Ok(Self {
            calls: calls.clone(),
            name: name.to_owned(),
        })
    }
}

#[async_trait::async_trait]
impl RemoteDirectory for Lent {
    fn shared_key(&self) -> &str {
        &self.calls.headers().shared_key
    }

    async fn open(&self, request: &DirectoryRequest) -> Result<Link, Status> {
        let metadata = request.to_metadata(&self.name)?;
        let calls = self.calls.clone();
        Ok(start(&self.calls, |packets| {
            pull(calls, metadata, packets).boxed()
        }))
    }
}

/// A directory that takes the output of one exporter.
pub(super) struct Target {
    calls: Calls,
    exporter: usize,
}

impl Target {
    pub(super) fn new(calls: &Calls, exporter: usize) -> Result<Self, SessionError> {
        calls.require(TARGET)?;
        Ok(Self {
            calls: calls.clone(),
            exporter,
        })
    }
}

#[async_trait::async_trait]
impl RemoteTarget for Target {
    async fn open(&self, others: Others) -> Result<Link, Status> {
        let mut metadata = MetadataMap::new();
        metadata.insert(EXPORTER, self.exporter.into());
        if others == Others::Remove {
            metadata.insert(WHOLE_RESULT, AsciiMetadataValue::from_static("1"));
        }
        let calls = self.calls.clone();
        Ok(start(&self.calls, |packets| {
            put(calls, metadata, packets).boxed()
        }))
    }
}

async fn pull(
    calls: Calls,
    metadata: MetadataMap,
    packets: CallPackets,
) -> Result<Streaming<Packet>, Status> {
    let client = FileSyncClient::new(calls.channel());
    let request = Request::from_parts(metadata, Extensions::default(), packets);
    let mut client = client.max_decoding_message_size(MESSAGE_LIMIT);
    Ok(client.diff_copy(request).await?.into_inner())
}

/// The service's messages are other ones, which carry archives; a directory's packets go over the
/// same method.
async fn put(
    calls: Calls,
    metadata: MetadataMap,
    packets: CallPackets,
) -> Result<Streaming<Packet>, Status> {
    let mut grpc = Grpc::new(calls.channel()).max_decoding_message_size(MESSAGE_LIMIT);
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::from_parts(metadata, Extensions::default(), packets);
    let path = PathAndQuery::from_static(TARGET);
    let codec = ProstCodec::<Packet, Packet>::default();
    Ok(grpc.streaming(request, path, codec).await?.into_inner())
}

/// A link whose call is made when its first packet is waited for: a server that receives sends
/// not even headers before something has come. A client that leaves ends it with an error.
fn start(
    calls: &Calls,
    call: impl FnOnce(CallPackets) -> BoxFuture<'static, Result<Streaming<Packet>, Status>>,
) -> Link {
    let calls = calls.clone();
    Link::through(|outbound| {
        let packets = stream::once(call(outbound.of_call())).flat_map(|opened| match opened {
            Ok(packets) => packets.boxed(),
            Err(status) => stream::once(async { Err(status) }).boxed(),
        });
        let watched = calls.clone();
        let left = async move { watched.closed().await };
        let farewell = stream::once(async move {
            let gone = calls.is_closed();
            gone.then(|| Err(calls.gone("file transfer").into()))
        });
        let farewell = farewell.filter_map(std::future::ready);
        packets.take_until(left).chain(farewell)
    })
}
