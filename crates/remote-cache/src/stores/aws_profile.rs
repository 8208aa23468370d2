//! Credentials for S3 from variables and from the file that AWS's tools share.

use std::path::PathBuf;

use super::{Door, StoreError};
use crate::directory;
use crate::options::{S3Login, Secret};

const LARGEST_FILE: u64 = 1 << 20;

/// `AWS_ACCESS_KEY_ID` and its like, or else the profile `AWS_PROFILE` (`default`) of the shared file.
pub(super) async fn find(door: &Door<'_>) -> Result<Option<S3Login>, StoreError> {
    let variable = |name: &str| door.environment.get(name).map(str::to_owned);
    let given = [
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
        variable("AWS_SESSION_TOKEN"),
    ];
    if let Some(login) = login(given).map_err(|reason| door.setup(reason))? {
        return Ok(Some(login));
    }
    let named = door.environment.path("AWS_SHARED_CREDENTIALS_FILE");
    let in_home = || {
        let home = door.environment.path("HOME")?;
        Some(home.join(".aws/credentials"))
    };
    let Some(path) = named.or_else(in_home) else {
        return Ok(None);
    };
    let profile = door.environment.get("AWS_PROFILE");
    let Some(text) = read(path).await? else {
        return Ok(None);
    };
    let values = profile_of(&text, profile.unwrap_or("default"));
    login(values).map_err(|reason| door.setup(reason))
}

/// The text of a file that may be missing.
async fn read(path: PathBuf) -> Result<Option<String>, StoreError> {
    let read = move || {
        let bytes = directory::read_bounded(&path, LARGEST_FILE).ok()?;
        String::from_utf8(bytes).ok()
    };
    let text = tokio::task::spawn_blocking(read).await;
    text.map_err(|_| StoreError::Ended)
}

fn login([key_id, key, token]: [Option<String>; 3]) -> Result<Option<S3Login>, String> {
    let secret =
        |text: String| Secret::new(text).map_err(|reason| format!("a credential {reason}"));
    let (Some(key_id), Some(key)) = (key_id, key) else {
        return Ok(None);
    };
    Ok(Some(S3Login {
        key_id: secret(key_id)?,
        key: secret(key)?,
        token: token.map(secret).transpose()?,
    }))
}

/// Key id, key and token of one section.
fn profile_of(text: &str, profile: &str) -> [Option<String>; 3] {
    let mut found = [None, None, None];
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let section = section.trim();
            let section = section.strip_prefix("profile ").unwrap_or(section);
            is_ours = section.trim() == profile;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_ours) else {
            continue;
        };
        let place = match key.trim() {
            "aws_access_key_id" => 0,
            "aws_secret_access_key" => 1,
            "aws_session_token" => 2,
            _ => continue,
        };
        found[place] = Some(value.trim().to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles() {
        let text = "# aws_access_key_id = no\n[default]\naws_access_key_id = one\n\
             aws_secret_access_key=two=\n\n[profile other]\naws_access_key_id=three\n\
             aws_secret_access_key=four\naws_session_token = five\nregion = x\n";
        let check = |profile: &str, expected: [Option<&str>; 3]| {
            let found = profile_of(text, profile);
            assert_eq!(
                found.each_ref().map(Option::as_deref),
                expected,
                "{profile}"
            );
        };
        check("default", [Some("one"), Some("two="), None]);
        check("other", [Some("three"), Some("four"), Some("five")]);
        check("none", [None, None, None]);
    }
}
