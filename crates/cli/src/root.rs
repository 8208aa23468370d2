//! Opens the embedded engine on the state directory that applies.

use std::path::PathBuf;

use kiln_engine::rootless::{self, Entered};
use kiln_engine::{Engine, EngineOptions, ExecutorChoice, OpenFiles};

use crate::arguments::Arguments;
use crate::failure::Failure;

/// Settles where state is kept, and makes the process root in a user
/// namespace if it is not root already: mounts need it. Must be called before
/// any thread is started.
pub(crate) fn prepare(arguments: &mut Arguments) -> Result<(), Failure> {
    if arguments.root.is_none() {
        arguments.root = Some(default_root()?);
    }
    match rootless::enter() {
        Ok(Entered::Already | Entered::Ranges) => Ok(()),
        Ok(Entered::SingleId) => {
            eprintln!(
                "warning: no ranges of ids are given to this user in /etc/subuid and /etc/subgid; \
                 images with files of several owners cannot be unpacked"
            );
            Ok(())
        }
        Err(error) => Err(Failure::usage(error)),
    }
}

/// The engine that the command line asks for. Must be called within a tokio
/// runtime.
pub(crate) fn open_engine(arguments: &Arguments, open_files: OpenFiles) -> Result<Engine, Failure> {
    let root = arguments
        .root
        .as_ref()
        .ok_or_else(|| Failure::usage("no state directory"))?;
    let mut options = EngineOptions::new(root);
    if let Some(binary) = &arguments.oci_worker_binary {
        options.executor = ExecutorChoice::OciRuntime(binary.clone());
    }
    options.open_files = Some(open_files);
    let hosts = kiln_engine::read_host_directories(&arguments.registry_config_path);
    let refuse = |error| Failure::usage(format!("--registry-config-path: {error}"));
    options.hosts = hosts.map_err(refuse)?;
    let variable = |name: &str| std::env::var(name).ok();
    options.proxies = kiln_engine::Proxies::from_variables(variable);
    options.stores = kiln_engine::StoreEnvironment::from_variables(variable);
    Ok(Engine::open(options)?)
}

/// `/var/lib/kiln` for root, `$XDG_DATA_HOME/kiln` for others.
fn default_root() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/kiln".into());
    }
    let data = std::env::var_os("XDG_DATA_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let home = || {
        let home = std::env::var_os("HOME").filter(|dir| !dir.is_empty())?;
        Some(PathBuf::from(home).join(".local/share"))
    };
    let data = data.or_else(home).ok_or_else(|| {
        Failure::usage(
            "cannot tell where to keep state: set XDG_DATA_HOME or HOME, or use --root DIR",
        )
    })?;
    Ok(data.join("kiln"))
}

/// Runs a command's work on an async runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::usage(format!("cannot start threads: {error}")))?;
    let outcome = runtime.block_on(work);
    // Whatever still blocks a thread must not keep the command from ending.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}
