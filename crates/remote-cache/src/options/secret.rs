//! A text that nobody but its receiver may see.

/// A key, password or token. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of printable characters; others cannot go into a request.
    pub(crate) fn new(text: String) -> Result<Self, &'static str> {
        match text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            true => Ok(Self(text)),
            false => Err("has characters that no credential has; is there a line break in it?"),
        }
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}
