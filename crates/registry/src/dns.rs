//! Names to addresses without the C library: a static binary must not call its resolver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What the answers depend on; a change of either makes a new resolver.
const SOURCES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

type Stamp = [Option<SystemTime>; 2];
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `/etc/hosts`, then the servers of `/etc/resolv.conf`.
#[derive(Clone, Default)]
pub(crate) struct SystemDns {
    current: Arc<Mutex<Option<(Stamp, TokioResolver)>>>,
}

impl SystemDns {
    fn resolver(&self) -> Result<TokioResolver, BoxError> {
        let stamp = SOURCES.map(|path| {
            std::fs::metadata(path)
                .and_then(|meta| meta.modified())
                .ok()
        });
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = current.as_ref()
            && *of == stamp
        {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio()
            .map_err(|error| io::Error::other(format!("reading /etc/resolv.conf: {error}")))?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build()?;
        *current = Some((stamp, resolver.clone()));
        Ok(resolver)
    }
}

impl Resolve for SystemDns {
    fn resolve(&self, name: Name) -> Resolving {
        let dns = self.clone();
        Box::pin(async move {
            if is_localhost(name.as_str()) {
                return Ok(addresses(vec![
                    Ipv4Addr::LOCALHOST.into(),
                    Ipv6Addr::LOCALHOST.into(),
                ]));
            }
            let found = dns.resolver()?.lookup_ip(name.as_str()).await;
            let found = found.map_err(|error| match error.is_no_records_found() {
                true => io::Error::other(format!("lookup {}: no such host", name.as_str())),
                false => io::Error::other(format!("lookup {}: {error}", name.as_str())),
            })?;
            Ok(addresses(found.iter().collect()))
        })
    }
}

/// RFC 6761: never asked of a server.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn addresses(found: Vec<IpAddr>) -> Addrs {
    Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)))
}
