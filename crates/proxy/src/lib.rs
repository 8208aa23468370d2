//! An HTTP proxy for one build step: it records what the step fetches, digests it, and asks rules first.
//!
//! A step that has no network but such a proxy can do nothing that its [`Record`] does not show. [`Proxy::start`]
//! serves a listener, which is best one inside the step's own network namespace; requests go on from here through
//! this process's network. HTTPS is opened with certificates of an [`Authority`] that the step is made to trust.

mod authority;
mod body;
mod connection;
mod error;
mod exchange;
mod headers;
mod ledger;
mod location;
mod proxy;
mod record;
mod rules;
mod upstream;

pub use authority::Authority;
pub use error::ProxyError;
pub use proxy::Proxy;
pub use record::{Denial, Incomplete, Material, Reason, Record, Request};
pub use rules::{Rules, Verdict};
pub use upstream::Upstream;
