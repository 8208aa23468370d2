//! What the engine in this process is, in the words that daemons use.

use std::collections::BTreeMap;

use kiln_client::{Platform, Version, Worker};

/// Names the one worker there is.
const ID: &str = "embedded";

pub(crate) fn version() -> Version {
    Version {
        package: "kiln".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        revision: String::new(),
        dockerfile: String::new(),
    }
}

pub(crate) fn worker() -> Worker {
    let platform = kiln_llb::platform::host();
    Worker {
        id: ID.into(),
        labels: BTreeMap::new(),
        platforms: vec![Platform {
            architecture: platform.architecture().to_string(),
            os: platform.os().to_string(),
            variant: platform.variant().clone().unwrap_or_default(),
            os_version: platform.os_version().clone().unwrap_or_default(),
            os_features: platform.os_features().clone().unwrap_or_default(),
        }],
        gc_rules: Vec::new(),
        version: version(),
        devices: Vec::new(),
    }
}
