//! Fixtures and servers for tests.
