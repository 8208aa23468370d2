//! Flags of `explain`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The build's ref, as `debug histories` shows it, or its beginning; the newest build if absent
    #[arg(value_name = "REF")]
    pub(crate) reference: Option<String>,

    /// Output for people (text) or programs (json)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ReportFormat,
}

/// `--format` of commands that report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}
