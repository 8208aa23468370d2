//! Cache keys as they are built up during a solve.
