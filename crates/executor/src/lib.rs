//! Runs one process in one root filesystem.
//!
//! A step is plain data, [`ExecRequest`]; its streams are [`ExecIo`]; what comes back is an [`ExitStatus`].
//! Two implementations of [`Executor`] read the same request: [`native::NativeExecutor`] talks to the
//! kernel itself, [`oci::OciExecutor`] hands an OCI runtime specification to runc, crun or any other runtime.

mod request;

mod io;

mod executor;

mod error;

pub mod native;

pub mod oci;

pub mod network;

pub mod rootless;

pub mod usage;

mod run;

mod view;

mod environment;
mod rlimit;

mod capability;
mod seccomp;

mod cgroup;

mod streams;

mod kernel;

pub use error::{ExecError, InvalidRequest};
pub use executor::{Executor, ExitCause, ExitStatus};
pub use io::{Control, ExecIo, WindowSize};
pub use request::{
    Access, Device, DeviceKind, Dns, ExecRequest, HostAddress, MemoryFile, Mount, MountPoint,
    Network, Resources, Rlimit, RootAccess, Security, StubRemoval, Terminal,
};
