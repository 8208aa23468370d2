//! A client for OCI and Docker registries: resolve, pull and push.
//!
//! [`Client`] belongs to a whole engine: it keeps connections, tokens and the
//! limit of parallel transfers for each registry. [`Repository`] is one name in
//! one registry, seen with one user's credentials:
//!
//! ```no_run
//! # async fn example(store: kiln_store::Store) -> Result<(), kiln_registry::RegistryError> {
//! use kiln_registry::{Anonymous, Client, ClientOptions, Reference};
//!
//! let client = Client::new(ClientOptions::default())?;
//! let reference = Reference::parse("alpine:3.20")?;
//! let repository = client.repository(&reference, Anonymous::shared());
//! let descriptor = repository.resolve(&reference).await?;
//! let manifest = repository.manifest(&descriptor).await?;
//! # Ok(()) }
//! ```
//!
//! The crate reads no environment and no configuration file; both arrive as plain
//! data in [`ClientOptions`].

mod auth;
mod client;
mod dns;
mod download;
mod endpoint;
mod error;
mod growing;
mod hosts;
mod http;
mod listing;
mod media_type;
mod push;
mod reference;
mod resolve;
mod send;
mod sending;
mod source;
mod tls;
mod upload;
mod verifier;

pub use auth::{Anonymous, Authority, AuthorityError, Credential, Token, TokenRequest};
pub use client::{
    Client, ClientOptions, ProxySettings, Repository, RetryPolicy, Timeouts, WebCertificates,
};
pub use download::BlobStream;
pub use error::{ErrorBody, RegistryError};
pub use hosts::{
    Capabilities, Capability, Certificates, DEFAULT_HOST, EndpointScheme, HostConfig, HostEndpoint,
    Hosts, KeyPair, is_loopback,
};
pub use media_type::{ManifestKind, detect_manifest_media_type, is_index, is_layer, is_manifest};
pub use push::{PushOutcome, PushTarget};
pub use reference::{Reference, ReferenceError};
pub use source::{BlobData, BlobSource};
pub use upload::Upload;
