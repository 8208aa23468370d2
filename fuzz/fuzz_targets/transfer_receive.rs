//! Packets of a sender that may be anything: a receiver takes or refuses them and never crashes, and every path it
//! takes stays inside.

#![no_main]

use std::sync::{Arc, LazyLock};

use futures::{StreamExt, stream};
use kiln_protocol::fsutil::Packet;
use kiln_session::transfer::{IncomingFile, Link, Sink, TransferError, TreeEntry, receive};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("runtime"));

/// Wants every file and keeps nothing.
struct Nowhere;

struct Discarded;

impl IncomingFile for Discarded {
    type Error = TransferError;
    type Hand = ();

    fn write(&mut self, _hand: &mut (), data: &[u8]) -> Result<(), TransferError> {
        assert!(!data.is_empty());
        Ok(())
    }

    fn complete(self, _hand: &mut ()) -> Result<(), TransferError> {
        Ok(())
    }
}

impl Sink for Nowhere {
    type Error = TransferError;
    type File = Discarded;
    type Output = usize;

    fn entry(&mut self, entry: &Arc<TreeEntry>) -> Result<Option<Discarded>, TransferError> {
        let parts = entry.path.split(|byte| *byte == b'/');
        assert!(parts.into_iter().all(|part| !part.is_empty() && part != b"." && part != b".."));
        assert_eq!(TreeEntry::from_bytes(&entry.to_bytes()).as_ref(), Some(&**entry));
        Ok(Some(Discarded))
    }

    fn finish(self, entries: Vec<Arc<TreeEntry>>, _hands: Vec<()>) -> Result<usize, TransferError> {
        Ok(entries.len())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let Ok(packet) = Packet::decode_length_delimited(&mut rest) else { break };
        packets.push(Ok(packet));
    }
    let (link, answers) = Link::new(stream::iter(packets));
    RUNTIME.block_on(async {
        let drain = tokio::spawn(answers.for_each(|_| async {}));
        receive(link, Nowhere).await.ok();
        drain.await.expect("the answers end");
    });
});
