//! What a client lends to a build.
