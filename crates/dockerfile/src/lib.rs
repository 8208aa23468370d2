//! Dockerfile text to LLB and image config.
