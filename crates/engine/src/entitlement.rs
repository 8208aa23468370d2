//! What builds may do only with their user's word.

/// A privilege that a step may need and the user must grant (`--allow`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entitlement {
    /// Steps may use the host's network.
    NetworkHost,
    /// Steps may run without sandbox.
    SecurityInsecure,
    /// Steps may use devices.
    Device(DeviceGrant),
}

/// Which devices steps may use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceGrant {
    /// All that there are.
    All,
    /// Some.
    Named {
        /// As steps may name devices, such as `vendor/class=name`.
        device: String,
        /// The name by which steps ask for it, if that is another one.
        alias: Option<String>,
    },
}

impl Entitlement {
    /// The name used in `--allow`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
            Self::Device(_) => "device",
        }
    }
}

impl std::str::FromStr for Entitlement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None => match text {
                "network.host" => Ok(Self::NetworkHost),
                "security.insecure" => Ok(Self::SecurityInsecure),
                "device" => Ok(Self::Device(DeviceGrant::All)),
                _ => Err(unknown(text)),
            },
            Some(("device", "")) => Ok(Self::Device(DeviceGrant::All)),
            Some(("device", named)) => named.parse().map(Self::Device),
            Some(_) => Err(unknown(text)),
        }
    }
}

fn unknown(text: &str) -> String {
    format!("unknown entitlement {text} (known: network.host, security.insecure, device)")
}

impl std::str::FromStr for DeviceGrant {
    type Err = String;

    /// `NAME[,alias=NAME]`, in the form of CSV.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        let record = reader.records().next();
        let record = record.and_then(Result::ok).unwrap_or_default();
        let mut fields = record.iter();
        let device = fields.next().filter(|name| !name.is_empty());
        let device = device.ok_or_else(|| format!("invalid device entitlement {text:?}"))?;
        let mut alias = None;
        for field in fields {
            match field.split_once('=') {
                Some(("alias", name)) => alias = Some(name.to_owned()),
                Some((key, _)) => return Err(format!("unknown device config key {key:?}")),
                None => return Err(format!("invalid device config {field:?}")),
            }
        }
        Ok(Self::Named {
            device: device.to_owned(),
            alias: alias.filter(|name| !name.is_empty()),
        })
    }
}
