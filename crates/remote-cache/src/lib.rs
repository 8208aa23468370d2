//! Cache export and import.
