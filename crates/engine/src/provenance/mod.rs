//! Where results come from: SLSA provenance of what a build made, in the shapes that BuildKit gives it.
//!
//! While a build runs, each frontend request keeps a [`Ledger`] of what it solved and which images it looked up.
//! Afterwards a [`Capture`] says what of that is behind one result, and a predicate says it in JSON.

mod environment;
mod ledger;
mod options;

mod capture;
mod images;

mod config_source;
mod layers;
mod predicate;
mod request;
mod results;
mod steps;

mod make;

mod build_info;

pub(crate) use build_info::inform;
pub(crate) use capture::{Material, RepositorySource};
pub use environment::ProvenanceEnvironment;
pub(crate) use images::ImageSource;
pub(crate) use ledger::{FrontendRequest, Ledger, Origin, Trace};
pub(crate) use make::{Invocation, UsageWanted, attest, for_history};
pub(crate) use options::{ProvenanceOptions, parse as parse_options};
pub(crate) use results::KnownResults;
