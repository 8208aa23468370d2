//! Paths in instructions, as the target platform writes them. On Windows they may have backslashes and the drive `C:`.

use super::error::LowerErrorKind;
use kiln_llb::path;
use oci_spec::image::Platform;

/// How a platform writes paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathStyle {
    Unix,
    Windows,
}

/// What becomes of a slash or `/.` at the end, which says that a path is a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Keep,
    Drop,
}

impl PathStyle {
    pub(crate) fn of(platform: &Platform) -> Self {
        if platform.os().to_string() == "windows" {
            Self::Windows
        } else {
            Self::Unix
        }
    }

    /// With slashes only.
    pub(crate) fn to_slash(self, path: &str) -> String {
        match self {
            Self::Unix => path.into(),
            Self::Windows => path.replace('\\', "/"),
        }
    }

    /// With the platform's own separators.
    pub(crate) fn to_native(self, path: &str) -> String {
        match self {
            Self::Unix => path.into(),
            Self::Windows => path.replace('/', "\\"),
        }
    }

    /// Takes the drive away, which must be the system's.
    pub(crate) fn without_drive(
        self,
        text: &str,
        ending: Ending,
    ) -> Result<String, LowerErrorKind> {
        if self == Self::Unix {
            return Ok(text.into());
        }
        let text = self.to_slash(text);
        if text.len() == 2 && text.ends_with(':') {
            return Err(LowerErrorKind::DriveOnly(text));
        }
        if text.starts_with("//") {
            return Err(LowerErrorKind::UncPath);
        }
        let rest = match text.split_once(':') {
            None => text.as_str(),
            Some((drive, rest)) if drive.eq_ignore_ascii_case("c") => rest,
            Some(_) => return Err(LowerErrorKind::OtherDrive),
        };
        let mut cleaned = path::clean(rest);
        if ending == Ending::Keep && rest.ends_with('/') && cleaned.len() > 1 {
            cleaned.push('/');
        }
        Ok(cleaned)
    }

    /// Whether a path starts at the root.
    pub(crate) fn is_abs(self, text: &str) -> bool {
        let stripped = self.without_drive(text, Ending::Drop);
        stripped.is_ok_and(|stripped| path::is_abs(&stripped))
    }

    /// The absolute form of `text`, which is relative to `parent`.
    pub(crate) fn resolve(
        self,
        parent: &str,
        text: &str,
        ending: Ending,
    ) -> Result<String, LowerErrorKind> {
        let written = self.to_slash(text);
        let parent = match parent {
            "" => "/".to_string(),
            parent => self.without_drive(&self.to_slash(parent), ending)?,
        };
        let parent = if path::is_abs(&parent) {
            parent
        } else {
            path::join(["/", parent.as_str()])
        };
        let text = if written.is_empty() {
            parent.clone()
        } else {
            written.clone()
        };
        let mut result = self.without_drive(&text, ending)?;
        if !path::is_abs(&result) {
            result = path::join([parent.as_str(), result.as_str()]);
        }
        if ending == Ending::Keep {
            if written.ends_with('/') && !result.ends_with('/') {
                result.push('/');
            } else if written.ends_with("/.") {
                result.push_str(if result == "/" { "." } else { "/." });
            }
        }
        Ok(result)
    }
}
