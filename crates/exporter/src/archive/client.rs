//! A layout in a store of a client elsewhere, for `tar=false`. Its index is the client's own work, after the build.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use futures::TryStreamExt as _;
use kiln_session::{RemoteContent, content};
use kiln_store::ContentStore;

use crate::exporter::blocking;
use crate::image::Assembled;
use crate::progress::Step;
use crate::{ExportError, archive};

/// Blobs on their way at the same time.
const PARALLEL: usize = 4;

/// Gives an image's blobs to a client. Those that it has stay.
pub(crate) async fn send_blobs(
    content: &ContentStore,
    image: &Assembled,
    client: &dyn RemoteContent,
    step: &Step,
) -> Result<(), ExportError> {
    let blobs = archive::blobs(image)?;
    let total = blobs.values().map(|(_, size)| size).sum();
    let done = AtomicU64::new(0);
    let sent = blobs.into_values().map(|(digest, size)| {
        let (content, done) = (content.clone(), &done);
        async move {
            let name = digest.clone();
            let file = blocking(move || {
                let opened = content.open(&name);
                opened.map_err(|error| ExportError::Store(error.into()))
            });
            let data = content::stream_of_file(file.await?);
            let written = client.write(&digest, size, data).await;
            written.map_err(ExportError::Client)?;
            step.advance(done.fetch_add(size, Ordering::Relaxed) + size, Some(total));
            Ok(())
        }
    });
    let all = futures::stream::iter(sent).buffer_unordered(PARALLEL);
    all.try_collect().await
}
