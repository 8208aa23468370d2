//! Sources: image, oci-layout, local.
