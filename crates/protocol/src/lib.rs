//! Generated protobuf types of the BuildKit API.
