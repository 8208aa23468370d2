//! Everything Kiln keeps on local disk.
