//! The build daemon: the engine behind BuildKit's API.
//!
//! [`run`] is the whole life of a daemon; [`Settings`] says what it is to do.

mod arguments;
pub mod config;
mod settings;
mod version;

mod daemon;
mod life;
mod listen;
mod logging;
mod notify;
mod serve;

mod containerd;
mod content;
mod control;
mod debug;
mod gateway;
mod health;
mod history;
mod metrics;
mod steps;
mod traces;
mod worker;

pub use arguments::{Arguments, ContainerdArguments, OciArguments};
pub use daemon::{DaemonError, run};
pub use listen::ListenError;
pub use settings::{
    Address, ContainerdSettings, Environment, LogFormat, LogSettings, Presence, Settings,
    SettingsError, SocketOwner, TlsFiles,
};
