//! What a download is called.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{CONTENT_DISPOSITION, HeaderMap};

use crate::file_name::safe;

/// The name that was asked for, or the server's, or the last part of the URL's path.
pub(super) fn choose(asked: &str, headers: Option<&HeaderMap>, url: &str) -> String {
    if !asked.is_empty() {
        return safe(asked);
    }
    let disposition = headers
        .and_then(|headers| headers.get(CONTENT_DISPOSITION))
        .and_then(|value| value.to_str().ok());
    if let Some(name) = disposition.and_then(from_disposition) {
        return safe(&name);
    }
    let path = Url::parse(url).map(|url| url.path().to_owned());
    let path = path.unwrap_or_default();
    safe(&percent_decode_str(&path).decode_utf8_lossy())
}

/// The parameter `filename` of a `Content-Disposition` header (RFC 6266); `filename*` comes first.
fn from_disposition(value: &str) -> Option<String> {
    let (_, parameters) = value.split_once(';')?;
    let (mut plain, mut extended) = (None, None);
    for (name, value) in Parameters(parameters) {
        match name.to_ascii_lowercase().as_str() {
            "filename" => plain = Some(value),
            "filename*" => extended = from_extended(&value),
            _ => {}
        }
    }
    let name = extended.or(plain)?;
    (!name.is_empty() && !name.ends_with('/')).then_some(name)
}

/// `charset'language'percent-encoded` (RFC 8187).
fn from_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let is_known =
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    is_known.then(|| decoded.into_owned())
}

/// The `name=value` pairs of a header, values with or without quotes.
struct Parameters<'a>(&'a str);

impl Iterator for Parameters<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([';', ' ', '\t']);
        let (name, rest) = rest.split_once('=')?;
        let mut value = String::new();
        let mut end = rest.len();
        let mut quoted = false;
        let mut characters = rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => quoted = !quoted,
                '\\' if quoted => value.extend(characters.next().map(|(_, escaped)| escaped)),
                ';' if !quoted => {
                    end = at;
                    break;
                }
                _ => value.push(character),
            }
        }
        self.0 = &rest[end..];
        Some((name.trim().to_owned(), value.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &str, disposition: &str, url: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = disposition.parse() {
            headers.insert(CONTENT_DISPOSITION, value);
        }
        assert_eq!(
            choose(asked, Some(&headers), url),
            expected,
            "{disposition} {url}"
        );
    }

    #[test]
    fn names_come_from_the_build_the_server_or_the_address() {
        let url = "http://host/dir/file.txt?x=/y";
        check("", "", url, "file.txt");
        check("mine", "attachment; filename=theirs", url, "mine");
        check("", "attachment; filename=theirs", url, "theirs");
        check(
            "",
            r#"attachment; filename="a \"b\"; c.txt""#,
            url,
            r#"a "b"; c.txt"#,
        );
        check(
            "",
            "attachment; filename=x; filename*=UTF-8''%e2%82%ac.txt",
            url,
            "€.txt",
        );
        check("", "attachment; filename=dir/", url, "file.txt");
        check("", "inline", url, "file.txt");
        check("", "", "http://host/a%20b", "a b");
    }

    #[test]
    fn names_are_never_paths() {
        let url = "http://host/f";
        check("../../etc/passwd", "", url, "passwd");
        check("..", "", url, "download");
        check("", "attachment; filename=\"/../\"", url, "f");
        check("", "attachment; filename=..", url, "download");
        check("", "attachment; filename=a/b/../c", url, "c");
        check("a\0b", "", url, "download");
        check("", "", "http://host/", "download");
        check("", "", "http://host/%2e%2e", "download");
        check("", "", "http://host/a%2f..", "download");
    }
}
