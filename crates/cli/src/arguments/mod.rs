//! Commands and flags, named as upstream's.

mod build;
mod debug;
mod explain;
mod store;
mod words;

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

pub(crate) use build::BuildArguments;
pub(crate) use debug::{
    ControlArguments, DebugCommand, DumpArguments, FormatArguments, GetArguments, LogsArguments,
    MonitorArguments, WorkersArguments,
};
pub(crate) use explain::{ExplainArguments, ReportFormat};
pub(crate) use store::{PruneArguments, UsageArguments};

/// build utility
#[derive(Debug, Parser)]
#[command(name = "buildctl", version, disable_version_flag = true)]
pub(crate) struct Arguments {
    /// Enable debug output in logs
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// Log formatter: json or text
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub(crate) log_format: LogFormat,

    /// Where the embedded engine keeps its state
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Run steps with this OCI runtime (runc, crun, …) instead of the built-in executor
    #[arg(long, global = true, value_name = "BINARY")]
    pub(crate) oci_worker_binary: Option<PathBuf>,

    /// Directory in the form of containerd's certs.d, with a hosts.toml for each registry, for
    /// the embedded engine
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) registry_config_path: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) daemon: DaemonArguments,

    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print version
    #[arg(long, short = 'v', short_alias = 'V', action = ArgAction::Version)]
    version: Option<bool>,
}

impl Arguments {
    /// Reads the command line of this process. Ends the process if it asks for help, or makes no
    /// sense.
    pub(crate) fn of_process() -> Self {
        let mut command = Self::command();
        command.build();
        Self::parse_from(words::canonical(std::env::args_os(), &command))
    }
}

/// How to reach a daemon.
#[derive(Debug, Args)]
pub(crate) struct DaemonArguments {
    /// Daemon to use, or `embedded:` to work in this process ($BUILDKIT_HOST; default: the
    /// daemon at the usual socket if there is one, else this process)
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) addr: Option<String>,

    /// Server name for certificate validation
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tlsservername: Option<String>,

    /// CA certificate for validation
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tlscacert: Option<PathBuf>,

    /// Client certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tlscert: Option<PathBuf>,

    /// Client key
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tlskey: Option<PathBuf>,

    /// Directory with ca.pem, cert.pem and key.pem (or ca.crt, tls.crt and tls.key)
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) tlsdir: Option<PathBuf>,

    /// Timeout backend connection after value seconds; never if that is not more than 0
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) timeout: i64,

    /// Block until the connection becomes available
    #[arg(long, global = true)]
    pub(crate) wait: bool,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build from a Dockerfile, or from LLB on standard input
    #[command(visible_alias = "b")]
    Build(Box<BuildArguments>),
    /// Disk usage
    Du(UsageArguments),
    /// Clean up build cache
    Prune(PruneArguments),
    /// Tell why steps of a build ran and were not taken from the cache
    Explain(ExplainArguments),
    /// Clean up build histories
    PruneHistories(FormatArguments),
    /// Debug utilities
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Proxy the stdio stream to the daemon connection. Should not be invoked manually.
    #[command(hide = true)]
    DialStdio,
}
