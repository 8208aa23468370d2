//! The command line of a build, read and checked: plain data that either kind
//! of engine can build from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_engine::{CacheEntry, Definition};
use kiln_protocol::sourcepolicy::Policy;
use kiln_session::{Secrets, SessionId, Ssh};

use super::credentials::DockerConfig;
use super::output::Output;
use super::{cache, options, output, policy, registry_auth, secret, ssh};
use crate::arguments::BuildArguments;
use crate::failure::Failure;
use crate::fields;

/// One build, before an engine is chosen.
pub(super) struct BuildPlan {
    pub(super) id: SessionId,
    pub(super) frontend: Frontend,
    pub(super) options: BTreeMap<String, String>,
    pub(super) outputs: Vec<Output>,
    pub(super) cache_imports: Vec<CacheEntry>,
    pub(super) cache_exports: Vec<CacheEntry>,
    pub(super) entitlements: Vec<String>,
    pub(super) source_policy: Option<Policy>,
    pub(super) proxy_network: bool,
    pub(super) directories: BTreeMap<String, PathBuf>,
    pub(super) oci_layouts: BTreeMap<String, PathBuf>,
    pub(super) secrets: Option<Arc<dyn Secrets>>,
    pub(super) ssh: Option<Arc<dyn Ssh>>,
    pub(super) credentials: DockerConfig,
}

/// What turns the plan into LLB.
pub(super) enum Frontend {
    /// A frontend by name.
    Named(String),
    /// LLB that the user brings.
    Definition(Definition),
}

impl BuildPlan {
    pub(super) fn parse(build: &BuildArguments) -> Result<Self, Failure> {
        let mut options = options::parse(&build.opt)?;
        let frontend = match build.frontend.as_str() {
            "" => read_definition(build.no_cache).map(Frontend::Definition)?,
            name => Frontend::Named(name.to_owned()),
        };
        if build.no_cache && matches!(frontend, Frontend::Named(_)) {
            options.insert("no-cache".into(), String::new());
        }
        let policy = build.source_policy_file.as_deref().map(policy::read);
        let secrets = secret::Sources::parse(&build.secret)?;
        let ssh = ssh::Agents::parse(&build.ssh)?;
        let token_servers = registry_auth::parse(&build.registry_auth_tlscontext)?;
        Ok(Self {
            id: SessionId::random(),
            frontend,
            options,
            outputs: output::parse(&build.output)?,
            cache_imports: cache::imports(&build.import_cache)?,
            cache_exports: cache::exports(&build.export_cache)?,
            entitlements: build.allow.clone(),
            source_policy: policy.transpose()?,
            proxy_network: build.proxy_network,
            directories: directories(&build.local, "--local")?,
            oci_layouts: directories(&build.oci_layout, "--oci-layout")?,
            secrets: (!build.secret.is_empty()).then(|| Arc::new(secrets) as _),
            ssh: (!build.ssh.is_empty()).then(|| Arc::new(ssh) as _),
            credentials: DockerConfig::load(token_servers),
        })
    }
}

/// LLB from standard input.
fn read_definition(no_cache: bool) -> Result<Definition, Failure> {
    use std::io::{IsTerminal as _, Read as _};
    let mut stdin = std::io::stdin();
    let mut bytes = Vec::new();
    if !stdin.is_terminal() {
        let read = stdin.read_to_end(&mut bytes);
        read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    }
    if bytes.is_empty() {
        return Err(Failure::usage(
            "please specify --frontend or pipe LLB definition to stdin\n\
             hint: --frontend dockerfile.v0 builds a Dockerfile",
        ));
    }
    let mut definition = Definition::decode(bytes.into())
        .map_err(|error| Failure::usage(format!("failed to parse input: {error}")))?;
    if definition.ops.is_empty() {
        return Err(Failure::usage(
            "empty definition sent to build. Specify --frontend instead?",
        ));
    }
    if no_cache {
        let digests = definition
            .digests()
            .map(|(digest, _)| digest.to_string())
            .collect::<Vec<_>>();
        for digest in digests {
            definition.metadata.entry(digest).or_default().ignore_cache = true;
        }
    }
    Ok(definition)
}

fn directories(values: &[String], flag: &str) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let map = fields::map(values).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    let checked = map.into_iter().map(|(name, path)| {
        let path = PathBuf::from(path);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok((name, path)),
            Ok(_) => Err(Failure::usage(format!(
                "{flag} {name}: {} is not a directory",
                path.display()
            ))),
            Err(error) => Err(Failure::usage(format!(
                "{flag} {name}: {}: {error}",
                path.display()
            ))),
        }
    });
    checked.collect()
}
