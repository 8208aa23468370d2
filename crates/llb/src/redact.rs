//! URLs without the credentials in them.

const MASK: &str = "xxxxx";

/// Hides user name and password of a URL; other texts stay as they are.
pub fn credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else {
        return text.to_owned();
    };
    let hidden = match user.split_once(':') {
        Some(("", _)) => format!(":{MASK}"),
        Some(_) => format!("{MASK}:{MASK}"),
        None if user.is_empty() => String::new(),
        None => MASK.to_owned(),
    };
    format!("{scheme}://{hidden}@{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_credentials_are_hidden() {
        let check = |text: &str, expected: &str| assert_eq!(credentials(text), expected);
        check(
            "https://u:p@host/x.git#main",
            "https://xxxxx:xxxxx@host/x.git#main",
        );
        check("https://token@host", "https://xxxxx@host");
        check("https://:p@host", "https://:xxxxx@host");
        check("https://host/a@b?c", "https://host/a@b?c");
        check("git@host:x", "git@host:x");
        check("dir", "dir");
    }
}
