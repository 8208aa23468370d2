//! What names of vendors, classes and devices look like.

/// What is wrong with `vendor/class`, if anything is.
pub(super) fn kind_problem(kind: &str) -> Option<String> {
    match kind.split_once('/') {
        Some((vendor, class)) => problem("vendor", vendor).or_else(|| problem("class", class)),
        None => Some(format!("{kind:?} is not of the form vendor/class")),
    }
}

/// What is wrong with the name of a device, if anything is.
pub(super) fn device_problem(name: &str) -> Option<String> {
    let is_inner = |it: char| it.is_ascii_alphanumeric() || "_-.:".contains(it);
    let begins_well = name.starts_with(|it: char| it.is_ascii_alphanumeric());
    let ends_well = name.ends_with(|it: char| it.is_ascii_alphanumeric());
    let is_fine = begins_well && ends_well && name.chars().all(is_inner);
    (!is_fine).then(|| {
        format!(
            "invalid device name {name:?}: write letters and digits, with any of _-.: between them"
        )
    })
}

fn problem(what: &str, name: &str) -> Option<String> {
    let is_inner = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
    let begins_well = name.starts_with(|it: char| it.is_ascii_alphabetic());
    let ends_well = name.ends_with(|it: char| it.is_ascii_alphanumeric());
    let is_fine = begins_well && ends_well && name.chars().all(is_inner);
    (!is_fine).then(|| {
        format!("invalid {what} {name:?}: write a letter first, then letters and digits, with any of _-. between them")
    })
}
