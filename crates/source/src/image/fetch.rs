//! How lazy layers of images fetch themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use kiln_store::refs::{Fetch, FetchError, FetchStream};
use oci_spec::image::Descriptor;
use tokio::io::{AsyncRead, ReadBuf};

use super::origin::{Origin, Place, import, receive};
use crate::blocking::blocking;

/// Told how many bytes of a layer have arrived, from any thread.
pub type PullProgress = Arc<dyn Fn(&Descriptor, u64) + Send + Sync>;

/// Fetches any layer of one image.
pub(super) struct ImageFetch {
    pub(super) origin: Origin,
    pub(super) progress: PullProgress,
}

#[async_trait]
impl Fetch for ImageFetch {
    async fn fetch(&self, descriptor: &Descriptor) -> Result<(), FetchError> {
        if let Place::Containerd(containerd, _) = &self.origin.place {
            let progress = |done| (self.progress)(descriptor, done);
            let content = self.origin.store.content();
            if super::containerd::receive(containerd, descriptor, content, &progress).await? {
                return Ok(());
            }
        }
        match &self.origin.place {
            Place::Registry(repository) | Place::Containerd(_, repository) => {
                let progress = |done| (self.progress)(descriptor, done);
                repository
                    .fetch_blob(descriptor, self.origin.store.content(), &progress)
                    .await?;
            }
            Place::Layout(path) => {
                let (path, content) = (path.clone(), self.origin.store.content().clone());
                let (descriptor, progress) = (descriptor.clone(), Arc::clone(&self.progress));
                blocking(move || {
                    import(&path, &descriptor, &content, &|done| {
                        progress(&descriptor, done)
                    })
                })
                .await?;
            }
            Place::Client(store) => {
                let progress = |done| (self.progress)(descriptor, done);
                receive(&**store, descriptor, self.origin.store.content(), &progress).await?;
            }
        }
        Ok(())
    }

    async fn stream(&self, descriptor: &Descriptor) -> Result<Option<FetchStream>, FetchError> {
        let inner = match &self.origin.place {
            Place::Registry(repository) => repository.blob(descriptor).into_reader(),
            Place::Containerd(containerd, repository) => {
                match super::containerd::stream(containerd, descriptor).await? {
                    Some(reader) => reader,
                    None => repository.blob(descriptor).into_reader(),
                }
            }
            Place::Client(store) => {
                kiln_session::content::reader_of(store.read(descriptor.digest(), 0).await?)
            }
            Place::Layout(_) => return Ok(None),
        };
        Ok(Some(Box::new(Counted {
            inner,
            descriptor: descriptor.clone(),
            progress: Arc::clone(&self.progress),
            done: 0,
        })))
    }

    fn is_possible(&self) -> bool {
        match &self.origin.place {
            Place::Client(store) => !store.is_gone(),
            Place::Registry(_) | Place::Containerd(..) | Place::Layout(_) => true,
        }
    }
}

/// Reports what passes through.
struct Counted {
    inner: FetchStream,
    descriptor: Descriptor,
    progress: PullProgress,
    done: u64,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.done += count as u64;
            (self.progress)(&self.descriptor, self.done);
        }
        outcome
    }
}
