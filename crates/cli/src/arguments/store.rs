//! Flags of `du` and `prune`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct UsageArguments {
    /// Filter records
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

    /// Format the output using the given Go template, e.g, '{{json .}}'
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
}
