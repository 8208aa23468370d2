//! Ways to registries, with a client's credentials.

use kiln_registry::{Client, ClientOptions, Reference, Repository};
use kiln_session::Session;

use crate::engine::Engine;
use crate::error::{BuildError, Kind};

/// How carefully a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// As configured.
    Configured,
    /// Plain HTTP and any certificate will do (`registry.insecure`).
    Insecure,
}

impl Access {
    pub(crate) fn of(insecure: bool) -> Self {
        if insecure {
            Self::Insecure
        } else {
            Self::Configured
        }
    }
}

impl Engine {
    /// A client for the registries of these names.
    pub(crate) fn registry_client(
        &self,
        names: &[Reference],
        access: Access,
    ) -> Result<Client, BuildError> {
        if access == Access::Configured {
            return Ok(self.registry.clone());
        }
        let mut options: ClientOptions = self.registry_options.clone();
        for name in names {
            let host = options.hosts.entry(name.domain().to_owned()).or_default();
            host.http = Some(true);
            host.insecure = Some(true);
            // A hosts.toml says how its places are reached, each by itself.
            host.endpoints.clear();
        }
        Client::new(options).map_err(|error| BuildError::wrap(Kind::Environment, error))
    }

    /// The repository of `reference`, with the session's credentials.
    pub(crate) fn repository(
        &self,
        reference: &Reference,
        access: Access,
        session: &Session,
    ) -> Result<Repository, BuildError> {
        let client = self.registry_client(std::slice::from_ref(reference), access)?;
        Ok(client.repository(reference, kiln_source::session_authority(session)))
    }
}
