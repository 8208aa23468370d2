//! Typed LLB: ops, digests, platforms, definitions.
