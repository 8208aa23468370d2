//! Schedules a graph of ops and reuses cached results.
