//! The key store in memory passes the same checks as any other.

#[test]
fn keys_in_memory() {
    kiln_solver::conformance::key_store(&kiln_solver::MemoryKeys::default());
}
