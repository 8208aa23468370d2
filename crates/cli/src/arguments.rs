//! Commands and flags, named as upstream's.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// build utility
#[derive(Debug, Parser)]
#[command(name = "buildctl", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Enable debug output in logs
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// Engine to use: `embedded:` runs the build in this process
    #[arg(long, env = "BUILDKIT_HOST", global = true)]
    pub(crate) addr: Option<String>,

    /// Where the embedded engine keeps its state
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Run steps with this OCI runtime (runc, crun, …) instead of the built-in executor
    #[arg(long, global = true, value_name = "BINARY")]
    pub(crate) oci_worker_binary: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
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
    /// Debug utilities
    #[command(subcommand)]
    Debug(DebugCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Dump LLB in human-readable format
    DumpLlb(DumpArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// Define exports for build result, e.g. --output type=oci,dest=image.tar
    #[arg(long, short = 'o', value_name = "CSV")]
    pub(crate) output: Vec<String>,

    /// Type of progress: auto, plain, tty, quiet or rawjson
    #[arg(
        long,
        env = "BUILDKIT_PROGRESS",
        default_value = "auto",
        value_name = "TYPE"
    )]
    pub(crate) progress: crate::progress::Mode,

    /// Write all progress as JSON lines to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Allow the build access to the local directory
    #[arg(long, value_name = "NAME=DIR")]
    pub(crate) local: Vec<String>,

    /// Allow the build access to the local OCI layout
    #[arg(long, value_name = "NAME=DIR")]
    pub(crate) oci_layout: Vec<String>,

    /// Define frontend used for build
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) frontend: String,

    /// Define custom options for frontend, e.g. --opt target=foo --opt build-arg:foo=bar
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,

    /// Disable cache for all the vertices
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Export build cache, e.g. --export-cache type=local,dest=path/to/dir
    #[arg(long, value_name = "CSV")]
    pub(crate) export_cache: Vec<String>,

    /// Import build cache, e.g. --import-cache type=local,src=path/to/dir
    #[arg(long, value_name = "CSV")]
    pub(crate) import_cache: Vec<String>,

    /// Secret value exposed to the build. Format id=secretname,src=filepath
    #[arg(long, value_name = "CSV")]
    pub(crate) secret: Vec<String>,

    /// Allow extra privileged entitlement, e.g. network.host, security.insecure
    #[arg(long, value_name = "NAME")]
    pub(crate) allow: Vec<String>,

    /// Allow forwarding SSH agent to the build. Format `default` or `ID[=SOCKET]`
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,

    /// Output build metadata (e.g., image digest) to a file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    /// Write build ref to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) ref_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UsageArguments {
    /// Filter records
    #[arg(long, short = 'f')]
    pub(crate) filter: Vec<String>,

    /// Verbose output
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Keep data newer than this limit, e.g. 48h
    #[arg(long, value_name = "DURATION")]
    pub(crate) keep_duration: Option<String>,

    /// Keep data below this limit (in MB)
    #[arg(long, value_name = "MB", default_value_t = 0.0)]
    pub(crate) keep_storage: f64,

    /// Always allow data above this limit (in MB)
    #[arg(long, value_name = "MB", default_value_t = 0.0)]
    pub(crate) keep_storage_min: f64,

    /// Keep free data below this limit (in MB)
    #[arg(long, value_name = "MB", default_value_t = 0.0)]
    pub(crate) free_storage: f64,

    /// Filter records
    #[arg(long, short = 'f')]
    pub(crate) filter: Vec<String>,

    /// Include internal/frontend references
    #[arg(long)]
    pub(crate) all: bool,

    /// Verbose output
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    /// File with LLB; standard input if absent or -
    pub(crate) file: Option<PathBuf>,

    /// Output dot format
    #[arg(long)]
    pub(crate) dot: bool,
}
