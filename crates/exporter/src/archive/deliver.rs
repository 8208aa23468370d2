//! An archive for somebody who may have parts of the image already.

use std::sync::Arc;

use kiln_session::ImageReceiver;
use kiln_store::ContentStore;

use super::lacking::{Part, lacking};
use super::{Archive, Sink, write_tarball};
use crate::cancel::Cancelled;
use crate::exporter::blocking;
use crate::progress::Progress;
use crate::{ExportError, archive};

/// Sends what the receiver lacks. Whatever it is that it does not take with that, it gets all of the image once: what it
/// had may be gone by now.
pub(crate) async fn deliver(
    content: &ContentStore,
    archive: Archive,
    receiver: Arc<dyn ImageReceiver>,
    progress: &Progress,
) -> Result<(), ExportError> {
    let delivery = Delivery {
        content,
        archive: Arc::new(archive),
        receiver,
        progress,
    };
    let part = match lacking(&delivery.archive.image, &*delivery.receiver).await {
        Ok(part) => part,
        Err(error) => {
            progress.warn(format!(
                "sending the whole image, because what is there already cannot be told: {error}"
            ));
            Part::Whole
        }
    };
    delivery.tell(&part)?;
    let lacks = part.absent().is_some_and(|absent| !absent.is_empty());
    match delivery.send(part).await {
        Err(error) if lacks && !matches!(error, ExportError::Canceled) => {
            progress.warn(format!("sending the whole image after a failure: {error}"));
            delivery.send(Part::Whole).await
        }
        sent => sent,
    }
}

struct Delivery<'a> {
    content: &'a ContentStore,
    archive: Arc<Archive>,
    receiver: Arc<dyn ImageReceiver>,
    progress: &'a Progress,
}

impl Delivery<'_> {
    /// Tells how much need not be sent.
    fn tell(&self, part: &Part) -> Result<(), ExportError> {
        let absent = part.absent().filter(|absent| !absent.is_empty());
        let Some(absent) = absent else {
            return Ok(());
        };
        let blobs = archive::blobs(&self.archive.image)?;
        let sizes = absent.iter().filter_map(|path| blobs.get(path));
        let size = sizes.map(|(_, size)| size).sum();
        let step = self
            .progress
            .start(format!("{} layers are there already", absent.len()));
        step.advance(size, Some(size));
        step.end(Ok(()))
    }

    async fn send(&self, part: Part) -> Result<(), ExportError> {
        let step = self.progress.start("sending tarball");
        let (content, archive) = (self.content.clone(), Arc::clone(&self.archive));
        let receiver = Arc::clone(&self.receiver);
        let (cancelled, _guard) = Cancelled::new();
        blocking(move || {
            let sent = receiver.receive().map_err(ExportError::Stream);
            let sent = sent.and_then(|out| {
                let sink = Sink {
                    out,
                    cancelled: cancelled.clone(),
                    step: &step,
                };
                write_tarball(&content, &archive, &part, sink)
            });
            step.end(sent.map_err(|error| cancelled.explain(error)))
        })
        .await
    }
}
