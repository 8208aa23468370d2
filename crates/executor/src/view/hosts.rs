//! The `/etc/hosts` of a step.

use crate::HostAddress;

/// What a step is called where nobody says otherwise.
pub(crate) const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// Content of the file.
pub(crate) fn content(hostname: &str, extra: &[HostAddress]) -> String {
    let hostname = if hostname.is_empty() {
        DEFAULT_HOSTNAME
    } else {
        hostname
    };
    let mut text =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for line in extra {
        text += &format!("{}\t{}\n", line.address, line.host);
    }
    text
}
