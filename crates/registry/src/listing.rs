//! Lists that registries keep: tags, and what refers to a manifest.

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest, ImageIndex};
use reqwest::header::LINK;
use reqwest::{Response, Url};
use serde::Deserialize;

use crate::client::Repository;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::hosts::Capability;
use crate::reference::Reference;
use crate::send::{Request, read_limited};

const MAX_PAGE: usize = 4 << 20;
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct TagPage {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags of the repository, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let endpoint = self.readable()?;
        let mut tags = Vec::new();
        let pages = self
            .pages(endpoint, endpoint.url("tags/list", &[])?)
            .await?;
        for page in pages {
            let page: TagPage = parse(&page, "list of tags", &self.name)?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Ok(tags)
    }

    /// Descriptors of the manifests that name `digest` as their subject. Registries
    /// without that list keep it under a tag made of the digest.
    pub async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let endpoint = self.readable()?;
        let query = artifact_type.map(|kind| ("artifactType", kind));
        let url = endpoint.url(&format!("referrers/{digest}"), query.as_slice())?;
        let pages = match self.pages(endpoint, url).await {
            Ok(pages) => pages,
            Err(error) if error.is_not_found() => self.referrers_tag(digest).await?,
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for page in pages {
            let index: ImageIndex = parse(&page, "list of referrers", &self.name)?;
            found.extend(index.manifests().iter().cloned());
        }
        // The filter is optional for registries, so it is applied here in any case.
        found.retain(|descriptor: &Descriptor| {
            artifact_type.is_none_or(|kind| {
                descriptor
                    .artifact_type()
                    .as_ref()
                    .is_some_and(|own| own.as_ref() == kind)
            })
        });
        Ok(found)
    }

    /// Lists are asked of the registry itself: mirrors know what they were asked for before.
    fn readable(&self) -> Result<&Endpoint, RegistryError> {
        let endpoints = self.serving(Capability::Resolve);
        let last = endpoints.last().copied();
        last.ok_or_else(|| self.nowhere(Capability::Resolve))
    }

    async fn referrers_tag(&self, digest: &Digest) -> Result<Vec<Bytes>, RegistryError> {
        let tag = digest.as_ref().replace(':', "-");
        let reference = self.name.with_tag(&tag)?;
        match self.resolve(&reference).await {
            Ok(descriptor) => Ok(vec![self.manifest(&descriptor).await?]),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Follows `Link: <…>; rel="next"` to the end.
    async fn pages(&self, endpoint: &Endpoint, first: Url) -> Result<Vec<Bytes>, RegistryError> {
        let mut pages = Vec::new();
        let mut next = Some(first);
        while let Some(url) = next {
            if pages.len() == MAX_PAGES {
                return Err(RegistryError::Protocol {
                    url: url.to_string(),
                    reason: format!("the list goes on after {MAX_PAGES} pages"),
                });
            }
            let response = self.send_ok(&Request::get(self, endpoint, url)).await?;
            next = next_page(&response);
            pages.push(read_limited(response, MAX_PAGE, "list", self.shared.timeouts.idle).await?);
        }
        Ok(pages)
    }
}

fn next_page(response: &Response) -> Option<Url> {
    let text = response.headers().get(LINK)?.to_str().ok()?;
    let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
    if !parameters.contains("next") {
        return None;
    }
    let next = response.url().join(target).ok()?;
    (next.origin() == response.url().origin()).then_some(next)
}

fn parse<'a, T: Deserialize<'a>>(
    body: &'a Bytes,
    what: &str,
    name: &Reference,
) -> Result<T, RegistryError> {
    serde_json::from_slice(body).map_err(|error| RegistryError::Protocol {
        url: name.to_string(),
        reason: format!("{what}: {error}"),
    })
}
