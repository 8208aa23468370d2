//! The keys of `type=registry`.

use kiln_registry::Reference;

use super::OptionError;
use super::keys::Keys;

/// `ref` and `registry.insecure`.
pub(super) fn parse(keys: &mut Keys) -> Result<(Reference, bool), OptionError> {
    Ok((
        keys.reference()?,
        keys.switch("registry.insecure")?.unwrap_or(false),
    ))
}
