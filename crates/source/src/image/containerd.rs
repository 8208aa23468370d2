//! Images of a containerd.

use kiln_containerd::{Containerd, ContainerdError};
use kiln_registry::Reference;
use kiln_store::ContentStore;
use kiln_store::refs::FetchStream;
use oci_spec::image::Descriptor;

use crate::error::SourceError;

/// The names that an image can have in containerd, likeliest first: those of pulled images are complete, those of
/// built ones are as somebody typed them.
pub(super) fn names(reference: &Reference) -> Vec<String> {
    let plain = reference.without_version();
    let tag = reference.tag().unwrap_or("latest");
    let mut names = match plain.with_tag(tag) {
        Ok(tagged) => vec![tagged.to_string(), tagged.familiar()],
        Err(_) => Vec::new(),
    };
    if tag == "latest" {
        names.extend([plain.name(), plain.familiar()]);
    }
    if let Some(digest) = reference.digest() {
        let pinned = plain.with_digest(digest.clone());
        names.extend([pinned.to_string(), pinned.familiar()]);
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// A blob's bytes; `None` if containerd does not have it: images of several platforms are often not complete.
pub(super) async fn stream(
    containerd: &Containerd,
    descriptor: &Descriptor,
) -> Result<Option<FetchStream>, ContainerdError> {
    let content = containerd.content();
    if content.info(descriptor.digest()).await?.is_none() {
        return Ok(None);
    }
    content.reader(descriptor.digest()).await.map(Some)
}

/// Brings a blob into the content store, which verifies it; answers whether containerd has it.
pub(super) async fn receive(
    containerd: &Containerd,
    descriptor: &Descriptor,
    content: &ContentStore,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<bool, SourceError> {
    let Some(reader) = stream(containerd, descriptor).await? else {
        return Ok(false);
    };
    let kept = kiln_store::refs::keep(reader, descriptor, content, progress).await;
    kept.map_err(|error| SourceError::Image {
        reference: descriptor.digest().to_string(),
        reason: format!(
            "from containerd at {}: {error}",
            containerd.address().display()
        ),
    })?;
    Ok(true)
}
