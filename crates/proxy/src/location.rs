//! URLs as they are recorded and shown.

use url::Url;

/// What stands for a user name or password.
const MASK: &str = "xxxxx";

/// The URL without its credentials. Ports that belong to the scheme are gone already: [`Url`] drops them.
pub(crate) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Only URLs that have no host refuse this, and they have no credentials either.
    if !url.username().is_empty() {
        let _ = url.set_username(MASK);
    }
    if url.password().is_some() {
        let _ = url.set_password(Some(MASK));
    }
    url.into()
}

/// Where a `Location` header leads, seen from the URL that was asked; as it is if it is no URL.
pub(crate) fn target(asked: &Url, location: &str) -> String {
    match asked.join(location) {
        Ok(url) => redacted(&url),
        Err(_) => location.to_owned(),
    }
}

/// An absolute URL that can be fetched, or why it is none.
pub(crate) fn fetchable(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("invalid URL {text:?}: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(format!("unsupported URL {:?}", redacted(&url))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_default_ports_are_gone() {
        let check = |url: &str, expected: &str| {
            assert_eq!(redacted(&Url::parse(url).unwrap()), expected, "{url}");
        };
        check("https://user:word@host/a?b", "https://xxxxx:xxxxx@host/a?b");
        check("https://user@host/", "https://xxxxx@host/");
        check("https://:word@host/", "https://:xxxxx@host/");
        check("http://host:80/a", "http://host/a");
        check("https://host:443", "https://host/");
        check("http://host:443/", "http://host:443/");
        check("http://[::1]:80/", "http://[::1]/");
    }

    #[test]
    fn locations_are_relative_to_what_was_asked() {
        let check = |location: &str, expected: &str| {
            let asked = Url::parse("https://host/a/b?c").unwrap();
            assert_eq!(target(&asked, location), expected, "{location}");
        };
        check("d", "https://host/a/d");
        check("/d?e", "https://host/d?e");
        check("//other/d", "https://other/d");
        check("http://u:p@other:80/d", "http://xxxxx:xxxxx@other/d");
        check("http://[", "http://[");
    }

    #[test]
    fn only_the_web_can_be_fetched() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = fetchable(text).map(String::from);
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{text}");
        };
        check("https://host/a", Ok("https://host/a"));
        check("http://host", Ok("http://host/"));
        check(
            "ftp://u:p@host/",
            Err("unsupported URL \"ftp://xxxxx:xxxxx@host/\""),
        );
        check(
            "data:text/plain,x",
            Err("unsupported URL \"data:text/plain,x\""),
        );
        check("/a", Err("invalid URL \"/a\": relative URL without a base"));
    }
}
