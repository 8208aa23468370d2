//! A session: one client's resources under one id.

use std::sync::Arc;

use crate::{Anonymous, Credentials, Directories, FileSync, NoSecrets, NoSsh, Secrets, Ssh};

/// Names one session. Unique among all sessions of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// An id received from elsewhere.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// A fresh random id: 25 characters of base 36, the form that BuildKit's
    /// own clients use.
    pub fn random() -> Self {
        let mut bytes = [0u8; 16];
        fill_random(&mut bytes);
        let mut number = u128::from_le_bytes(bytes);
        let mut text = String::with_capacity(25);
        for _ in 0..25 {
            let digit = (number % 36) as u32;
            number /= 36;
            text.push(char::from_digit(digit, 36).unwrap_or('0'));
        }
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fills `bytes` from the kernel's random source, which never fails for such
/// small requests once the machine has booted; the loop serves interrupts.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        if let Ok(n) =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
        {
            filled += n;
        }
    }
}

/// One client's resources. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    /// Names the session.
    pub id: SessionId,
    /// The client's directories.
    pub files: Arc<dyn FileSync>,
    /// Registry credentials.
    pub credentials: Arc<dyn Credentials>,
    /// Secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Forwarded SSH agents.
    pub ssh: Arc<dyn Ssh>,
}

impl Session {
    /// A session that lends nothing; fill in the fields that apply.
    pub fn empty() -> Self {
        Self {
            id: SessionId::random(),
            files: Arc::new(Directories::default()),
            credentials: Arc::new(Anonymous),
            secrets: Arc::new(NoSecrets),
            ssh: Arc::new(NoSsh),
        }
    }
}
