//! Headers that are between a client and its proxy, and go no further.

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Leaves what is meant for the server. Encodings are not accepted, so that digests are of plain content; whom the
/// request is for is said by its URL, which the rules have seen; and its body has already been asked for.
pub(crate) fn of_request(headers: &mut HeaderMap) {
    of_response(headers);
    for name in [ACCEPT_ENCODING, HOST, EXPECT] {
        headers.remove(name);
    }
}

/// Leaves what is meant for the client.
pub(crate) fn of_response(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The protocol that the client insists on changing to. A newer HTTP is only an offer, which may be ignored.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<String> {
    let wanted = headers
        .get(UPGRADE)?
        .to_str()
        .unwrap_or("an unknown protocol");
    let is_offer = |token: &str| token.eq_ignore_ascii_case("h2c") || token.starts_with("TLS/");
    let refused = wanted
        .split(',')
        .map(str::trim)
        .find(|token| !is_offer(token))?;
    Some(refused.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_between_two_hops_goes_no_further() {
        let check = |given: &[(&'static str, &'static str)],
                     left: &[(&'static str, &'static str)]| {
            let mut found = headers(given);
            of_request(&mut found);
            assert_eq!(found, headers(left));
        };
        check(
            &[
                ("connection", "close, X-Own"),
                ("x-own", "1"),
                ("x-other", "2"),
            ],
            &[("x-other", "2")],
        );
        check(
            &[
                ("proxy-authorization", "Basic eA=="),
                ("proxy-connection", "keep-alive"),
                ("authorization", "Bearer x"),
                ("accept-encoding", "gzip"),
                ("host", "elsewhere"),
                ("expect", "100-continue"),
                ("transfer-encoding", "chunked"),
                ("range", "bytes=0-1"),
            ],
            &[("authorization", "Bearer x"), ("range", "bytes=0-1")],
        );
    }

    #[test]
    fn offers_of_a_newer_http_are_no_upgrades() {
        let check = |value: &'static str, expected: Option<&str>| {
            let found = upgrade(&headers(&[("upgrade", value)]));
            assert_eq!(found.as_deref(), expected, "{value}");
        };
        check("h2c", None);
        check("TLS/1.2, h2c", None);
        check("websocket", Some("websocket"));
        check("h2c, spdy/3", Some("spdy/3"));
    }
}
