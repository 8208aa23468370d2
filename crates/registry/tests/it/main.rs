//! Tests of the registry client, against a server that misbehaves on demand and
//! against a real registry.

mod auth;
mod blob;
mod docker_registry;
mod fake;
mod hosts;
mod mirror;
mod proxy;
mod push;
mod reference;
mod resolve;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_registry::{
    Anonymous, Authority, AuthorityError, Client, ClientOptions, Credential, HostConfig, Hosts,
    Reference, Repository, RetryPolicy, Timeouts,
};
use oci_spec::image::{Descriptor, Digest, MediaType};
use sha2::Digest as _;

/// A client that loses no time.
pub(crate) fn client(hosts: Hosts) -> Client {
    let pause = Duration::from_millis(1);
    let retry = RetryPolicy {
        attempts: 4,
        first_pause: pause,
        longest_pause: pause,
        longest_wait: Duration::from_secs(5),
    };
    let timeouts = Timeouts {
        answer: Duration::from_millis(800),
        idle: Duration::from_millis(800),
        ..Timeouts::default()
    };
    Client::new(ClientOptions {
        hosts,
        retry,
        timeouts,
        ..ClientOptions::default()
    })
    .expect("client")
}

pub(crate) fn repository(host: &str) -> Repository {
    repository_as(host, Anonymous::shared())
}

pub(crate) fn repository_as(host: &str, authority: Arc<dyn Authority>) -> Repository {
    client(Hosts::new()).repository(&reference(host, "test/image"), authority)
}

pub(crate) fn reference(host: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{host}/{rest}")).expect("reference")
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let hash: String = sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hash}").parse().expect("digest")
}

pub(crate) fn layer_of(bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        MediaType::ImageLayerGzip,
        bytes.len() as u64,
        digest_of(bytes),
    )
}

pub(crate) fn manifest_of(bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        MediaType::ImageManifest,
        bytes.len() as u64,
        digest_of(bytes),
    )
}

/// Bytes that do not repeat too soon.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Lends one credential, and remembers for which hosts.
pub(crate) struct Purse {
    pub(crate) credential: Credential,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Purse {
    pub(crate) fn basic(username: &str, password: &str) -> Arc<Self> {
        Self::of(Credential::Basic {
            username: username.into(),
            password: password.into(),
        })
    }

    pub(crate) fn of(credential: Credential) -> Arc<Self> {
        Arc::new(Self {
            credential,
            asked: Mutex::default(),
        })
    }
}

#[async_trait::async_trait]
impl Authority for Purse {
    async fn credential(&self, host: &str) -> Result<Credential, AuthorityError> {
        self.asked.lock().expect("lock").push(host.to_owned());
        Ok(self.credential.clone())
    }
}

pub(crate) fn host_config(change: impl FnOnce(&mut HostConfig)) -> HostConfig {
    let mut config = HostConfig::default();
    change(&mut config);
    config
}
