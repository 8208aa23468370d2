//! Environment variables of a step.

use std::collections::HashMap;

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `env` with what every process has. Of several entries of a name the last counts, at the place of the first.
pub(crate) fn complete(env: &[String], home: &str) -> Vec<String> {
    let mut result: Vec<String> = Vec::with_capacity(env.len() + 2);
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in env {
        let Some((name, _)) = entry.split_once('=') else {
            continue;
        };
        match places.get(name).and_then(|place| result.get_mut(*place)) {
            Some(earlier) => earlier.clone_from(entry),
            None => {
                places.insert(name, result.len());
                result.push(entry.clone());
            }
        }
    }
    match places.get("HOME").and_then(|place| result.get_mut(*place)) {
        Some(entry) if entry == "HOME=" => entry.push_str(home),
        Some(_) => {}
        None => result.push(format!("HOME={home}")),
    }
    if !places.contains_key("PATH") {
        result.push(format!("PATH={DEFAULT_PATH}"));
    }
    result
}
