//! `HEALTHCHECK`.

use std::time::Duration;

/// `HEALTHCHECK [flags] CMD <command line>` or `HEALTHCHECK NONE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", argument...]` or `["CMD-SHELL", text]`: the form of the image's configuration.
    pub test: Vec<String>,
    /// `--interval`; zero means inherit, also for the others.
    pub interval: Duration,
    /// `--timeout`.
    pub timeout: Duration,
    /// `--start-period`.
    pub start_period: Duration,
    /// `--start-interval`.
    pub start_interval: Duration,
    /// `--retries`.
    pub retries: u32,
}
