//! Commands below `debug` and their flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Dump LLB in human-readable format. Does not need an engine
    DumpLlb(DumpArguments),
    /// Dump the metadata of the state directory in human-readable format
    DumpMetadata,
    /// List workers
    Workers(WorkersArguments),
    /// Display internal information
    Info(FormatArguments),
    /// Display build events
    Monitor(MonitorArguments),
    /// Display build logs
    Logs(LogsArguments),
    /// Control build records
    Ctl(ControlArguments),
    /// Retrieve a blob from contentstore
    Get(GetArguments),
    /// List build records
    Histories(FormatArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    /// File with LLB; standard input if absent or -
    pub(crate) file: Option<PathBuf>,

    /// Output dot format
    #[arg(long)]
    pub(crate) dot: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WorkersArguments {
    /// containerd-style filter string slice
    #[arg(long, short = 'f')]
    pub(crate) filter: Vec<String>,

    /// Verbose output
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,

    /// Format the output using the given Go template, e.g, '{{json .}}'
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArguments {
    /// Format the output using the given Go template, e.g, '{{json .}}'
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MonitorArguments {
    /// Show completed builds
    #[arg(long)]
    pub(crate) completed: bool,

    /// Show events for a specific build
    #[arg(long, value_name = "REF", default_value = "")]
    pub(crate) r#ref: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// The build's ref
    #[arg(value_name = "REF")]
    pub(crate) reference: Option<String>,

    /// Progress output type
    #[arg(long, default_value = "auto", value_name = "TYPE")]
    pub(crate) progress: crate::progress::Mode,

    /// Show opentelemetry trace
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ControlArguments {
    /// The build's ref
    #[arg(value_name = "REF")]
    pub(crate) reference: Option<String>,

    /// Pin build so it will not be garbage collected
    #[arg(long)]
    pub(crate) pin: bool,

    /// Unpin build so it will be garbage collected
    #[arg(long)]
    pub(crate) unpin: bool,

    /// Delete build record
    #[arg(long)]
    pub(crate) delete: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// The blob's digest
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: Option<String>,
}
