//! Flags of `build`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// Define exports for build result, e.g. --output type=oci,dest=image.tar
    #[arg(long, short = 'o', value_name = "CSV")]
    pub(crate) output: Vec<String>,

    /// Type of progress: auto, plain, tty, quiet or rawjson [env: BUILDKIT_PROGRESS=]
    #[arg(long, default_value = "auto", value_name = "TYPE")]
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

    /// Tell which steps would run, what would be pulled and what would be written, and do none of it
    #[arg(long, conflicts_with_all = ["metadata_file", "ref_file", "trace", "debug_json_cache_metrics"])]
    pub(crate) dry_run: bool,

    /// Output of --dry-run, for people (text) or programs (json)
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        requires = "dry_run"
    )]
    pub(crate) format: super::ReportFormat,

    /// Export build cache, e.g. --export-cache type=local,dest=path/to/dir
    #[arg(long, value_name = "CSV")]
    pub(crate) export_cache: Vec<String>,

    /// Import build cache, e.g. --import-cache type=local,src=path/to/dir
    #[arg(long, value_name = "CSV")]
    pub(crate) import_cache: Vec<String>,

    /// Secret value exposed to the build. Format id=secretname,src=filepath
    #[arg(long, value_name = "CSV")]
    pub(crate) secret: Vec<String>,

    /// Allow extra privileged entitlement, e.g. network.host, security.insecure, device
    #[arg(long, value_name = "NAME")]
    pub(crate) allow: Vec<String>,

    /// Allow forwarding SSH agent or a raw Unix socket to the builder. Format
    /// `default|ID[=SOCKET[,raw=false]|KEY[,KEY]]`
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,

    /// Output build metadata (e.g., image digest) to a file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    /// Read source policy file from a JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) source_policy_file: Option<PathBuf>,

    /// Run build with proxy network enforcement
    #[arg(long)]
    pub(crate) proxy_network: bool,

    /// Write build ref to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) ref_file: Option<PathBuf>,

    /// Overwrite TLS configuration when authenticating with registries, e.g.
    /// host=https://myserver:2376,ca=ca.crt,cert=cert.crt,key=key.crt
    #[arg(long, value_name = "CSV")]
    pub(crate) registry_auth_tlscontext: Vec<String>,

    /// Where to output json cache metrics, use 'stdout' or 'stderr' for standard (error) output
    #[arg(long, value_name = "FILE")]
    pub(crate) debug_json_cache_metrics: Option<PathBuf>,
}
