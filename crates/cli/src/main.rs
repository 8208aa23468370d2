//! buildctl.

fn main() {}
