//! `--registry-auth-tlscontext`: how token servers of registries are reached from here.

use std::path::PathBuf;

use kiln_registry::{Hosts, KeyPair};

use crate::failure::Failure;
use crate::fields;

const FLAG: &str = "--registry-auth-tlscontext";

/// Reads the flag's values; several for one host add up.
pub(super) fn parse(values: &[String]) -> Result<Hosts, Failure> {
    let mut hosts = Hosts::new();
    for value in values {
        let pairs = fields::pairs(value);
        let pairs = pairs.map_err(|error| Failure::usage(format!("{FLAG}: {error}")))?;
        let entry = Entry::read(pairs)?;
        let host = hosts.entry(entry.host.clone()).or_default();
        host.ca.extend(entry.ca);
        host.keypairs.extend(entry.pair);
        if entry.is_insecure {
            host.insecure = Some(true);
        }
    }
    Ok(hosts)
}

struct Entry {
    host: String,
    ca: Option<PathBuf>,
    pair: Option<KeyPair>,
    is_insecure: bool,
}

impl Entry {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Failure> {
        let (mut host, mut ca, mut cert, mut key) = (String::new(), None, None, None);
        let mut is_insecure = false;
        for (name, value) in pairs {
            match name.as_str() {
                "host" => host = value,
                "ca" => ca = Some(PathBuf::from(value)),
                "cert" => cert = Some(PathBuf::from(value)),
                "key" => key = Some(PathBuf::from(value)),
                "insecure" => is_insecure = flag(&value)?,
                _ => {
                    return Err(Failure::usage(format!(
                        "{FLAG}: unexpected key '{name}' (known: host, ca, cert, key, insecure)"
                    )));
                }
            }
        }
        if host.is_empty() {
            return Err(Failure::usage(format!("{FLAG} requires host=<host>")));
        }
        let pair = match (cert, key) {
            (Some(certificate), Some(key)) => Some(KeyPair { certificate, key }),
            (None, None) => None,
            _ => {
                return Err(Failure::usage(format!(
                    "{FLAG} requires cert=<cert>,key=<key>"
                )));
            }
        };
        if ca.is_none() && pair.is_none() && !is_insecure {
            return Err(Failure::usage(format!(
                "{FLAG} requires ca=<ca> or cert=<cert>,key=<key> or insecure=true"
            )));
        }
        Ok(Self {
            host,
            ca,
            pair,
            is_insecure,
        })
    }
}

fn flag(value: &str) -> Result<bool, Failure> {
    fields::boolean(value)
        .ok_or_else(|| Failure::usage(format!("{FLAG}: invalid value for 'insecure': {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_add_up_and_lacks_are_told() {
        let values = [
            "host=a,ca=one.pem",
            "host=a,ca=two.pem,cert=c,key=k",
            "host=b,insecure=1",
        ];
        let hosts = parse(&values.map(str::to_owned)).expect("hosts");
        assert_eq!(hosts["a"].ca, ["one.pem", "two.pem"].map(PathBuf::from));
        assert_eq!(hosts["a"].keypairs.len(), 1);
        assert_eq!(
            (hosts["a"].insecure, hosts["b"].insecure),
            (None, Some(true))
        );
        for (value, expected) in [
            ("ca=x", "requires host="),
            ("host=a", "requires ca="),
            ("host=a,ca=x,cert=y", "requires cert="),
            ("host=a,insecure=maybe", "invalid value for 'insecure'"),
            ("host=a,certificate=x", "unexpected key 'certificate'"),
        ] {
            let Err(Failure::Usage(error)) = parse(&[value.to_owned()]) else {
                panic!("{value} is fine")
            };
            assert!(error.contains(expected), "{value}: {error}");
        }
    }
}
