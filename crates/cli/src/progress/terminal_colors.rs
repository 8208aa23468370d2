//! Colours of the live view: `BUILDKIT_COLORS`, `NO_COLOR`.

/// Escape sequences for ended steps; by default none.
#[derive(Debug, Default, PartialEq, Eq)]
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
    /// The colours that the environment asks for, and what is wrong with what it says.
    pub(super) fn of_process() -> (Self, Vec<String>) {
        let variable = |name| std::env::var(name).ok();
        Self::new(
            variable("NO_COLOR").as_deref(),
            variable("BUILDKIT_COLORS").as_deref(),
        )
    }

    /// Reads the two variables; `no_color` counts when it is not empty.
    fn new(no_color: Option<&str>, settings: Option<&str>) -> (Self, Vec<String>) {
        let mut complaints = Vec::new();
        if no_color.is_some_and(|value| !value.is_empty()) {
            return (Self::default(), complaints);
        }
        let mut colors = Self {
            run: escape("34"),
            cancel: escape("33"),
            error: escape("31"),
            faint: escape("2"),
            reset: escape("0"),
        };
        for setting in settings.into_iter().flat_map(|all| all.split(':')) {
            complaints.extend(colors.set(setting).err());
        }
        (colors, complaints)
    }

    /// Applies one `NAME=COLOR`, or tells what is wrong with it.
    fn set(&mut self, setting: &str) -> Result<(), String> {
        let pair = setting.split_once('=');
        let (name, value) = pair
            .filter(|(_, value)| !value.contains('='))
            .ok_or_else(|| format!("{setting:?} is not NAME=COLOR"))?;
        let sequence = sequence(value)?;
        match name.to_lowercase().as_str() {
            "run" => self.run = sequence,
            "cancel" => self.cancel = sequence,
            "error" => self.error = sequence,
            // Upstream has the name, and as little to show in that colour.
            "warning" => {}
            _ => {
                return Err(format!(
                    "unknown name {name:?} (known: run, cancel, error, warning)"
                ));
            }
        }
        Ok(())
    }
}

fn escape(code: &str) -> String {
    format!("\x1b[{code}m")
}

/// A colour by name (`red`, `light-red`, `default`) or as `R,G,B`.
fn sequence(value: &str) -> Result<String, String> {
    if value.contains(',') {
        let parts = value.split(',').map(|part| part.parse::<u8>().ok());
        let parts = parts.collect::<Option<Vec<_>>>().unwrap_or_default();
        let [red, green, blue] = parts.as_slice() else {
            return Err(format!(
                "{value:?} is not a color: R,G,B are three numbers from 0 to 255"
            ));
        };
        return Ok(escape(&format!("38;2;{red};{green};{blue}")));
    }
    let lower = value.to_lowercase();
    if lower == "default" {
        return Ok(escape("39"));
    }
    let (base, name) = match lower.strip_prefix("light-") {
        Some(name) => (90, name),
        None => (30, lower.as_str()),
    };
    let index = NAMES.iter().position(|known| *known == name);
    let index = index.ok_or_else(|| {
        format!(
            "unknown color {value:?} (known: R,G,B, default, {}, each also as light-)",
            NAMES.join(", ")
        )
    })?;
    Ok(escape(&(base + index).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_can_be_chosen() {
        let chosen = Some("run=green:error=1,2,3:cancel=light-Red");
        let (colors, complaints) = Colors::new(Some(""), chosen);
        assert_eq!(colors.run, "\x1b[32m");
        assert_eq!(colors.error, "\x1b[38;2;1;2;3m");
        assert_eq!(colors.cancel, "\x1b[91m");
        assert!(complaints.is_empty(), "{complaints:?}");
        let (colors, complaints) = Colors::new(Some("1"), Some("run=nonsense"));
        assert_eq!(colors, Colors::default());
        assert!(complaints.is_empty(), "{complaints:?}");
    }

    #[test]
    fn nonsense_is_told_and_changes_nothing() {
        let check = |settings: &str, expected: &[&str]| {
            let (colors, complaints) = Colors::new(None, Some(settings));
            assert_eq!(colors, Colors::new(None, None).0, "{settings}");
            assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
            for (complaint, expected) in complaints.iter().zip(expected) {
                assert!(complaint.contains(expected), "{settings}: {complaint}");
            }
        };
        check("warning=red", &[]);
        check("step=red", &["unknown name \"step\" (known: run"]);
        check("run=nonsense", &["unknown color \"nonsense\""]);
        check("run=1,2", &["\"1,2\" is not a color"]);
        check("run=1,2,256:error=1,2,x", &["\"1,2,256\"", "\"1,2,x\""]);
        check("run", &["\"run\" is not NAME=COLOR"]);
        check("run=red=blue:", &["\"run=red=blue\"", "\"\""]);
        check("", &["\"\" is not"]);
    }
}
