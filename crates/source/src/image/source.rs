//! Images from registries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_containerd::Containerd;
use kiln_registry::{
    Authority, AuthorityError, Client, Credential, Reference, Repository, Token, TokenRequest,
};
use kiln_session::Session;
use kiln_store::refs::LazyLayer;
use kiln_store::{RecordType, Ref, Store};
use oci_spec::image::{Descriptor, Digest};

use super::cache_key::{layers_key, manifest_key};
use super::fetch::{ImageFetch, PullProgress};
use super::identifier::{ImageIdentifier, ResolveMode};
use super::manifest::{self, Manifest};
use super::origin::{Origin, Place};
use crate::CacheKey;
use crate::error::SourceError;

/// Finds images that were built here and given a name.
pub type ImageLookup = Arc<dyn Fn(&Reference) -> Option<Descriptor> + Send + Sync>;

/// Gives images of registries. Cheap to clone.
#[derive(Clone)]
pub struct ImageSource {
    pub(super) store: Store,
    pub(super) client: Client,
    images: Option<ImageLookup>,
    containerd: Option<Containerd>,
}

/// What a frontend wants to know of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The digest the reference stands for: the index's, if there is one.
    pub digest: Digest,
    /// The reference, pinned to the digest.
    pub reference: Reference,
    /// The image's config for the platform.
    pub config: Bytes,
}

impl ImageSource {
    /// Images pulled by `client`, their layers kept in `store`.
    pub fn new(store: Store, client: Client) -> Self {
        Self {
            store,
            client,
            images: None,
            containerd: None,
        }
    }

    /// Also looks among the images this store has names for.
    pub fn with_images(self, images: ImageLookup) -> Self {
        Self {
            images: Some(images),
            ..self
        }
    }

    /// Also looks among the images of a containerd.
    pub fn with_containerd(self, containerd: Containerd) -> Self {
        Self {
            containerd: Some(containerd),
            ..self
        }
    }

    /// Digest and config of an image, pulling its manifests only.
    pub async fn resolve_config(
        &self,
        identifier: &ImageIdentifier,
        session: &Session,
    ) -> Result<ResolvedImage, SourceError> {
        let (_, manifest) = self.load(identifier, session).await?;
        Ok(ResolvedImage {
            reference: identifier
                .reference
                .with_digest(manifest.root.digest().clone()),
            digest: manifest.root.digest().clone(),
            config: manifest.config,
        })
    }

    /// Pulls an image's manifests and config. Its layers come when they are needed,
    /// with `session`'s credentials and reported to `progress`.
    pub async fn open(
        &self,
        identifier: &ImageIdentifier,
        session: &Session,
        progress: PullProgress,
    ) -> Result<Image, SourceError> {
        let (origin, manifest) = self.load(identifier, session).await?;
        if let Some(expected) = &identifier.checksum
            && expected != manifest.root.digest()
        {
            return Err(SourceError::Checksum {
                reference: identifier.reference.to_string(),
                actual: manifest.root.digest().clone(),
                expected: expected.clone(),
            });
        }
        let about = About {
            reference: identifier.reference.clone(),
            platform: identifier.platform.clone(),
            record_type: identifier.record_type,
            layer_limit: identifier.layer_limit,
        };
        Image::new(origin, manifest, about, progress)
    }

    async fn load(
        &self,
        identifier: &ImageIdentifier,
        session: &Session,
    ) -> Result<(Origin, Manifest), SourceError> {
        let (origin, root) = self.locate(identifier, session).await?;
        let name = identifier.reference.to_string();
        let manifest = manifest::load(&origin, root, &identifier.platform, &name).await?;
        Ok((origin, manifest))
    }

    /// What the reference stands for, and where all of it is.
    pub(super) async fn locate(
        &self,
        identifier: &ImageIdentifier,
        session: &Session,
    ) -> Result<(Origin, Descriptor), SourceError> {
        let authority = Arc::new(SessionAuthority(session.clone()));
        let repository = self.client.repository(&identifier.reference, authority);
        let (root, place) = self.find(identifier, repository).await?;
        let origin = Origin {
            place,
            store: self.store.clone(),
        };
        Ok((origin, root))
    }

    /// The descriptor the reference stands for, and where the rest is. The registry is asked also for a digest whose
    /// image is here: it may be another repository's, which who asks may not read.
    async fn find(
        &self,
        identifier: &ImageIdentifier,
        repository: Repository,
    ) -> Result<(Descriptor, Place), SourceError> {
        let reference = &identifier.reference;
        if identifier.resolve_mode == ResolveMode::Local
            && let Some(found) = self.find_local(reference, &repository).await?
        {
            return Ok(found);
        }
        let error = match repository.resolve(reference).await {
            Ok(descriptor) => return Ok((descriptor, self.place(repository))),
            Err(error) => error,
        };
        if identifier.resolve_mode == ResolveMode::Default {
            match self.find_local(reference, &repository).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(local) => tracing::debug!(error = %local, "cannot look for a local image"),
            }
        }
        Err(error.into())
    }

    /// Where an image's blobs are looked for, whoever knows its name.
    fn place(&self, repository: Repository) -> Place {
        match &self.containerd {
            Some(containerd) => Place::Containerd(containerd.clone(), repository),
            None => Place::Registry(repository),
        }
    }

    /// The same among images that have names here.
    async fn find_local(
        &self,
        reference: &Reference,
        repository: &Repository,
    ) -> Result<Option<(Descriptor, Place)>, SourceError> {
        let is_meant = |found: &Descriptor| {
            let digest = reference.digest();
            digest.is_none_or(|digest| digest == found.digest())
        };
        let named = self.images.as_ref().and_then(|images| images(reference));
        if let Some(found) = named.filter(is_meant) {
            return Ok(Some((found, self.place(repository.clone()))));
        }
        let Some(containerd) = &self.containerd else {
            return Ok(None);
        };
        for name in super::containerd::names(reference) {
            let image = containerd.images().get(&name).await?;
            if let Some(found) = image.map(|image| image.target).filter(is_meant) {
                return Ok(Some((found, self.place(repository.clone()))));
            }
        }
        Ok(None)
    }
}

/// What is asked of an image, apart from its manifest.
pub(super) struct About {
    pub(super) reference: Reference,
    pub(super) platform: oci_spec::image::Platform,
    pub(super) record_type: RecordType,
    pub(super) layer_limit: Option<usize>,
}

/// One image whose manifests are here.
pub struct Image {
    store: Store,
    manifest: Manifest,
    about: About,
    fetch: Arc<ImageFetch>,
    keys: [Option<String>; 2],
}

impl Image {
    pub(super) fn new(
        origin: Origin,
        mut manifest: Manifest,
        about: About,
        progress: PullProgress,
    ) -> Result<Self, SourceError> {
        if let Some(limit) = about.layer_limit {
            let layers = manifest.layers.len();
            if limit > layers {
                return Err(SourceError::LayerLimit { limit, layers });
            }
            manifest.layers.truncate(limit);
        }
        let first = manifest_key(manifest.root.digest(), &about.platform, about.layer_limit)?;
        let diff_ids: Vec<Digest> = manifest
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        Ok(Self {
            store: origin.store.clone(),
            keys: [Some(first), layers_key(&manifest.rootfs, &diff_ids)],
            manifest,
            about,
            fetch: Arc::new(ImageFetch { origin, progress }),
        })
    }

    /// The digest the reference stands for: the index's, if there is one.
    pub fn digest(&self) -> &Digest {
        self.manifest.root.digest()
    }

    /// The manifest of the chosen platform's image.
    pub fn manifest(&self) -> &Descriptor {
        &self.manifest.manifest
    }

    /// The image's config.
    pub fn config(&self) -> &Bytes {
        &self.manifest.config
    }

    /// The layers' blobs, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifest.layers.iter().map(|layer| &layer.descriptor)
    }

    /// The cache key at `index`: the manifest's first, then the layers' alone.
    pub fn cache_key(&self, index: usize) -> CacheKey {
        let [first, second] = &self.keys;
        let key = if index == 0 {
            first
        } else {
            second.as_ref().map_or(first, |_| second)
        };
        CacheKey {
            key: key.clone().unwrap_or_default(),
            pin: self.manifest.root.digest().to_string(),
            more: index == 0,
        }
    }

    /// The image's files, lazily; `None` if it has no layers. Equal layers of other
    /// images are shared. Writes to the store's database, so it may block shortly.
    pub fn snapshot(&self) -> Result<Option<Ref>, SourceError> {
        let mut current: Option<Ref> = None;
        for layer in &self.manifest.layers {
            let lazy = LazyLayer {
                descriptor: layer.descriptor.clone(),
                diff_id: layer.diff_id.clone(),
                fetch: Arc::clone(&self.fetch) as _,
                description: format!("pulled from {}", self.about.reference),
                record_type: self.about.record_type,
                created: None,
            };
            let layer = self.store.layer(current.as_ref(), lazy)?;
            // What containerd has of an image is most likely in its repository as well; a registry that does not lend it
            // is sent it.
            if let Place::Registry(repository) | Place::Containerd(_, repository) =
                &self.fetch.origin.place
            {
                layer.add_origin(&repository.name().to_string())?;
            }
            current = Some(layer);
        }
        Ok(current)
    }
}

/// A session's credentials, as a registry client asks for them.
pub(super) struct SessionAuthority(pub(super) Session);

#[async_trait]
impl Authority for SessionAuthority {
    async fn credential(&self, host: &str) -> Result<Credential, AuthorityError> {
        use kiln_session::Credential as Lent;
        Ok(match self.0.credentials.credential(host).await? {
            Lent::Anonymous => Credential::Anonymous,
            Lent::Basic { username, password } => Credential::Basic { username, password },
            Lent::IdentityToken(token) => Credential::IdentityToken(token),
        })
    }

    async fn identity(&self, host: &str) -> Result<Option<[u8; 32]>, AuthorityError> {
        let identity = self.0.credentials.identity(host).await?;
        Ok(identity.map(|identity| identity.0))
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>, AuthorityError> {
        let request = kiln_session::TokenRequest {
            host: request.host.clone(),
            realm: request.realm.clone(),
            service: request.service.clone(),
            scopes: request.scopes.clone(),
        };
        let token = self.0.credentials.token(&request).await?;
        Ok(token.map(|token| Token {
            value: token.value,
            expires_in: token.expires_in,
        }))
    }
}

/// The credentials of a session, for others that speak to registries with them.
pub fn session_authority(session: &Session) -> Arc<dyn Authority> {
    Arc::new(SessionAuthority(session.clone()))
}
