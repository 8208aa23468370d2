//! `RUN --device`.

/// A CDI device that a `RUN` step asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Name, `vendor/class=name`, `vendor/class=*` or a class; empty if the flag has none.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}
