//! Part of the tar codec.
