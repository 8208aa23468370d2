//! `index.json`: which names a layout has.

use kiln_registry::Reference;

use crate::image::model::{Descriptor, Index, OCI_INDEX};
use crate::image::names::{IMAGE_NAME, REF_NAME, ref_name};

/// The root descriptor once for every name, or once without one.
pub(crate) fn root_descriptors(root: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![root.clone()];
    }
    names
        .iter()
        .map(|name| named(root, Some(&name.to_string()), &ref_name(name)))
        .collect()
}

fn named(root: &Descriptor, name: Option<&str>, ref_name: &str) -> Descriptor {
    let mut named = root.clone();
    if let Some(name) = name {
        named.annotations.insert(IMAGE_NAME.into(), name.into());
    }
    named.annotations.insert(REF_NAME.into(), ref_name.into());
    named
}

pub(super) fn empty() -> Index {
    Index {
        schema_version: 2,
        media_type: OCI_INDEX.into(),
        manifests: Some(Vec::new()),
        annotations: Default::default(),
    }
}

/// Adds an image to a directory's index. Entries of the same names go, all others stay; an image without a name is
/// `latest`.
pub(super) fn insert(index: &mut Index, root: &Descriptor, names: &[Reference]) {
    let added = match names {
        [] => vec![named(root, None, "latest")],
        names => root_descriptors(root, names),
    };
    let manifests = index.manifests.get_or_insert_default();
    let identity = |entry: &Descriptor| {
        (
            entry.annotations.get(REF_NAME).cloned(),
            entry.annotations.get(IMAGE_NAME).cloned(),
        )
    };
    manifests.retain(|entry| added.iter().all(|new| identity(new) != identity(entry)));
    manifests.extend(added);
}
