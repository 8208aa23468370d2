//! Colours of the live view: `BUILDKIT_COLORS`, `NO_COLOR`.

/// Escape sequences for ended steps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Colors {
    pub(super) run: String,
    pub(super) cancel: String,
    pub(super) error: String,
    /// For the output of steps.
    pub(super) faint: String,
    pub(super) reset: String,
}

const NAMES: [&str; 8] = [
    "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
];

impl Colors {
    /// Reads the two variables; `no_color` counts when it is not empty.
    pub(super) fn new(no_color: Option<&str>, settings: Option<&str>) -> Self {
        if no_color.is_some_and(|value| !value.is_empty()) {
            return Self {
                run: String::new(),
                cancel: String::new(),
                error: String::new(),
                faint: String::new(),
                reset: String::new(),
            };
        }
        let mut colors = Self {
            run: escape("34"),
            cancel: escape("33"),
            error: escape("31"),
            faint: escape("2"),
            reset: escape("0"),
        };
        for setting in settings.unwrap_or_default().split(':') {
            let Some((key, value)) = setting.split_once('=') else {
                continue;
            };
            let Some(sequence) = sequence(value) else {
                continue;
            };
            match key.to_lowercase().as_str() {
                "run" => colors.run = sequence,
                "cancel" => colors.cancel = sequence,
                "error" => colors.error = sequence,
                _ => {}
            }
        }
        colors
    }
}

fn escape(code: &str) -> String {
    format!("\x1b[{code}m")
}

/// A colour by name (`red`, `light-red`, `default`) or as `R,G,B`.
fn sequence(value: &str) -> Option<String> {
    let value = value.to_lowercase();
    if value == "default" {
        return Some(escape("39"));
    }
    if value.contains(',') {
        let parts = value.split(',').map(|part| part.trim().parse::<u8>().ok());
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let [red, green, blue] = parts.as_slice() else {
            return None;
        };
        return Some(escape(&format!("38;2;{red};{green};{blue}")));
    }
    let (base, name) = match value.strip_prefix("light-") {
        Some(name) => (90, name),
        None => (30, value.as_str()),
    };
    let index = NAMES.iter().position(|known| *known == name)?;
    Some(escape(&(base + index).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_can_be_chosen() {
        let colors = Colors::new(None, Some("run=green:error=1,2,3:cancel=nonsense"));
        assert_eq!(colors.run, "\x1b[32m");
        assert_eq!(colors.error, "\x1b[38;2;1;2;3m");
        assert_eq!(colors.cancel, "\x1b[33m");
        assert_eq!(Colors::new(Some("1"), Some("run=green")).run, "");
    }
}
