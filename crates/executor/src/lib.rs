//! Runs one process in one root filesystem.
