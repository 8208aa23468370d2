//! `cargo xtask tidy`: the project's own rules.

mod dependencies;
mod files;

/// Checks all rules and reports every violation at once.
pub(crate) fn run() -> Result<(), String> {
    let mut problems = dependencies::check()?;
    problems.extend(files::check()?);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} rules are broken:\n{}",
        problems.len(),
        problems.join("\n")
    ))
}
