//! Names of images in the store.

use kiln_registry::Reference;
use kiln_store::{Store, StoreError};

use crate::ExportError;
use crate::image::model::Descriptor;

/// The form in which a name is kept: complete if it is a reference, else as it is.
pub(crate) fn name_of(name: &str) -> String {
    Reference::parse(name).map_or_else(
        |_| name.to_owned(),
        |reference| reference.with_default_tag().to_string(),
    )
}

/// Gives an image its names, taking them from whatever had them before.
pub(crate) fn put(store: &Store, names: &[String], root: &Descriptor) -> Result<(), ExportError> {
    let target = root
        .to_oci()
        .map_err(|error| ExportError::Store(error.into()))?;
    let failed = |error: StoreError| ExportError::Store(error.into());
    names
        .iter()
        .try_for_each(|name| store.set_image(name, &target).map_err(failed))
}
