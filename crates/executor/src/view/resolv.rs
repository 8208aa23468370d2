//! The `/etc/resolv.conf` of a step, made from the host's.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::{Dns, Network};

const HOST_FILE: &str = "/etc/resolv.conf";
/// What systemd-resolved keeps for those who cannot reach its stub on 127.0.0.53.
const RESOLVED_FILE: &str = "/run/systemd/resolve/resolv.conf";

/// Used where the host names no server that a step could reach.
const FALLBACK: [&str; 4] = [
    "8.8.8.8",
    "8.8.4.4",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
];

#[derive(Debug, Default)]
struct Config {
    nameservers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines of other kinds, kept.
    other: Vec<String>,
}

/// Content of the file for a step with the given network; `dns` overrides parts of the host's.
pub(crate) fn content(network: &Network, dns: &Dns) -> io::Result<String> {
    let mut config = parse(&read(Path::new(HOST_FILE))?);
    if *network != Network::Host
        && matches!(config.nameservers[..], [IpAddr::V4(one)] if one.octets() == [127, 0, 0, 53])
    {
        config = parse(&read(Path::new(RESOLVED_FILE))?);
    }
    Ok(compose(config, network, dns))
}

/// A file that does not exist says nothing.
fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Config {
    let mut config = Config::default();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut fields = line.split_whitespace();
        let Some(keyword) = fields.next() else {
            continue;
        };
        let values: Vec<String> = fields.map(str::to_owned).collect();
        match keyword {
            "nameserver" => {
                // A zone (`fe80::1%eth0`) names an interface that a step need not have; without it the address is useless.
                config.nameservers.extend(
                    values
                        .first()
                        .and_then(|value| value.parse::<IpAddr>().ok()),
                );
            }
            "domain" | "search" if !values.is_empty() => config.search = values,
            "options" => config.options.extend(values),
            "domain" | "search" => {}
            _ => config.other.push(line.to_owned()),
        }
    }
    config
}

fn compose(mut config: Config, network: &Network, dns: &Dns) -> String {
    let overridden = !dns.nameservers.is_empty();
    if overridden {
        config.nameservers.clone_from(&dns.nameservers);
    }
    if !dns.search.is_empty() {
        config.search = dns
            .search
            .iter()
            .filter(|domain| *domain != ".")
            .cloned()
            .collect();
    }
    if !dns.options.is_empty() {
        config.options.clone_from(&dns.options);
    }
    // A server on the host's loopback is of use in the host's network only.
    if (*network != Network::Host || config.nameservers.is_empty()) && !overridden {
        config.nameservers.retain(|address| !address.is_loopback());
        if config.nameservers.is_empty() {
            config.nameservers = FALLBACK
                .iter()
                .filter_map(|address| address.parse().ok())
                .collect();
        }
    }

    let mut text = String::new();
    for address in &config.nameservers {
        text += &format!("nameserver {address}\n");
    }
    for (keyword, values) in [("search", &config.search), ("options", &config.options)] {
        if !values.is_empty() {
            text += &format!("{keyword} {}\n", values.join(" "));
        }
    }
    for line in &config.other {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, network: Network, dns: &Dns, expected: &str) {
        assert_eq!(compose(parse(host), &network, dns), expected);
    }

    #[test]
    fn composed_from_the_hosts_file() {
        let none = Dns::default();
        let own = Dns {
            nameservers: vec!["127.0.0.1".parse().unwrap()],
            search: vec![".".to_owned(), "corp".to_owned()],
            options: vec!["ndots:2".to_owned()],
        };
        let fallback = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n\
                        nameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n";
        let host = "# c\nnameserver 10.0.0.2\nnameserver 127.0.0.1\nsearch a\ndomain b c\noptions x y\nsortlist 1\n";
        check(
            host,
            Network::Sandbox,
            &none,
            "nameserver 10.0.0.2\nsearch b c\noptions x y\nsortlist 1\n",
        );
        check(
            host,
            Network::Host,
            &none,
            "nameserver 10.0.0.2\nnameserver 127.0.0.1\nsearch b c\noptions x y\nsortlist 1\n",
        );
        check(
            host,
            Network::None,
            &own,
            "nameserver 127.0.0.1\nsearch corp\noptions ndots:2\nsortlist 1\n",
        );
        check("nameserver ::1\n", Network::Sandbox, &none, fallback);
        check("nameserver ::1\n", Network::Host, &none, "nameserver ::1\n");
        check("", Network::Host, &none, fallback);
    }
}
