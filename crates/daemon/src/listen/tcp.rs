//! Sockets on networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::ListenError;
use crate::settings::Address;

/// Listens at `host:port`; without host on all interfaces.
pub(super) async fn bind(text: &str) -> Result<TcpListener, ListenError> {
    let address = Address::Tcp(text.to_owned());
    let candidates = resolve(text).map_err(|reason| ListenError::Address {
        address: address.to_string(),
        reason,
    })?;
    TcpListener::bind(&candidates[..])
        .await
        .map_err(ListenError::system(&address, "bind"))
}

/// Names are not looked up: which interface is meant should not depend on a
/// name service.
fn resolve(text: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or("the port is missing: write tcp://ADDRESS:PORT")?;
    let port = port
        .parse::<u16>()
        .map_err(|_| format!("{port:?} is not a port"))?;
    let hosts: &[IpAddr] = match host {
        // Where there is no IPv6 the first fails.
        "" => &[
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ],
        "localhost" => &[
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ],
        _ => {
            return Err(format!(
                "{host:?} is not an IP address of this machine; write 0.0.0.0 for all of them"
            ));
        }
    };
    Ok(hosts
        .iter()
        .map(|host| SocketAddr::new(*host, port))
        .collect())
}
