//! Tests of the engine as a library.

mod keys;
mod engine;
