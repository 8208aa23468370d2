//! Changes of permission bits in `chmod`'s two notations.

use super::error::TreeError;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EVERYTHING: u32 = 0o7777;
/// What a clause without `u`, `g`, `o` or `a` speaks of.
const ALL_CLASSES: u32 = SET_UID | SET_GID | 0o777;
const OTHER: u32 = 0o007;

/// A permission change: `0755` sets, `u+x,go-w` edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange {
    steps: Vec<Step>,
    absolute: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Clear(u32),
    Set(u32),
    /// Set if anyone may execute it already, or if it is a directory.
    SetIfExecutable(u32),
    /// Takes the bits of one class (shifted by `from`) over to others.
    Copy {
        from: u32,
        to: u32,
        op: Op,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Assign,
}

impl ModeChange {
    /// Sets the permission bits (0o7777). Directories made on the way to a destination get them too.
    pub fn absolute(mode: u32) -> Self {
        let mode = mode & EVERYTHING;
        Self {
            steps: vec![Step::Clear(EVERYTHING), Step::Set(mode)],
            absolute: Some(mode),
        }
    }

    /// Parses octal or symbolic notation.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, TreeError> {
        let malformed = || TreeError::Mode(text.to_owned());
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= EVERYTHING)
                .ok_or_else(malformed)?;
            return Ok(Self {
                steps: vec![Step::Clear(EVERYTHING), Step::Set(mode)],
                absolute: None,
            });
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause, &mut steps).ok_or_else(malformed)?;
        }
        Ok(Self {
            steps,
            absolute: None,
        })
    }

    /// The bits after the change.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let executable = mode & 0o111 != 0 || is_dir;
        self.steps
            .iter()
            .fold(mode & EVERYTHING, |mode, step| match *step {
                Step::Clear(bits) => mode & !bits,
                Step::Set(bits) => mode | bits,
                Step::SetIfExecutable(bits) if executable => mode | bits,
                Step::SetIfExecutable(_) => mode,
                Step::Copy { from, to, op } => {
                    let bits = mode >> from & 0o7;
                    let spread = (bits << 6 | bits << 3 | bits) & to;
                    match op {
                        Op::Add => mode | spread,
                        Op::Remove => mode & !spread,
                        Op::Assign => mode & !(to & 0o777) | spread,
                    }
                }
            })
    }

    /// The mode of directories made on the way, if the change decides about them.
    pub(super) fn for_parents(&self) -> Option<u32> {
        self.absolute.map(|mode| mode & 0o777)
    }
}

/// Parses `ugo+rwx-s=t`: classes, then one or more operations with their permissions.
fn parse_clause(clause: &str, steps: &mut Vec<Step>) -> Option<()> {
    let start = clause.find(|class| !"ugoa".contains(class))?;
    let who = clause[..start].chars().fold(0, |who, class| {
        who | match class {
            'u' => SET_UID | 0o700,
            'g' => SET_GID | 0o070,
            'o' => OTHER,
            _ => ALL_CLASSES,
        }
    });
    let mut rest = &clause[start..];
    while let Some(symbol) = rest.chars().next() {
        let op = match symbol {
            '+' => Op::Add,
            '-' => Op::Remove,
            '=' => Op::Assign,
            _ => return None,
        };
        let end = rest[1..]
            .find(['+', '-', '='])
            .map_or(rest.len(), |at| at + 1);
        Operation {
            who,
            op,
            assigned: false,
        }
        .parse(&rest[1..end], steps)?;
        rest = &rest[end..];
    }
    Some(())
}

struct Operation {
    who: u32,
    op: Op,
    /// The first write of a `=` clears, later ones add.
    assigned: bool,
}

impl Operation {
    fn parse(mut self, permissions: &str, steps: &mut Vec<Step>) -> Option<()> {
        let mut bits = 0;
        let mut conditional = 0;
        for permission in permissions.chars() {
            // Set-id and sticky mean nothing to a clause that speaks of others alone.
            let only_others = self.who != 0 && self.who & !OTHER == 0;
            match permission {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' if self.op == Op::Remove => bits |= 0o111,
                'X' => conditional |= 0o111,
                's' if !only_others => bits |= SET_UID | SET_GID,
                't' if !only_others => {
                    self.who |= STICKY;
                    bits |= STICKY;
                }
                's' | 't' => {}
                'u' | 'g' | 'o' => {
                    self.flush(
                        std::mem::take(&mut bits),
                        std::mem::take(&mut conditional),
                        steps,
                    );
                    let from = match permission {
                        'u' => 6,
                        'g' => 3,
                        _ => 0,
                    };
                    let to = if self.who == 0 {
                        0o777
                    } else {
                        self.who & 0o777
                    };
                    self.assigned = true;
                    steps.push(Step::Copy {
                        from,
                        to,
                        op: self.op,
                    });
                }
                _ => return None,
            }
        }
        if self.op == Op::Assign && !self.assigned && bits == 0 {
            steps.push(Step::Clear(if self.who == 0 {
                ALL_CLASSES
            } else {
                self.who
            }));
        }
        self.flush(bits, conditional, steps);
        Some(())
    }

    fn flush(&mut self, bits: u32, conditional: u32, steps: &mut Vec<Step>) {
        let mask = if self.who == 0 { EVERYTHING } else { self.who };
        if bits != 0 {
            if self.op == Op::Assign {
                steps.push(Step::Clear(if self.who == 0 {
                    ALL_CLASSES
                } else {
                    self.who
                }));
                self.assigned = true;
            }
            steps.push(if self.op == Op::Remove {
                Step::Clear(bits & mask)
            } else {
                Step::Set(bits & mask)
            });
        }
        if conditional != 0 {
            steps.push(Step::SetIfExecutable(conditional & mask));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_like_chmod() {
        for (change, before, after) in [
            ("755", 0o4600, 0o755),
            ("04755", 0, 0o4755),
            ("u+x", 0o644, 0o744),
            ("+x", 0o644, 0o755),
            ("go-w", 0o666, 0o644),
            ("go=", 0o777, 0o700),
            ("a=rX", 0o644, 0o444),
            ("a=rX", 0o744, 0o555),
            ("u=rwX,go=rX", 0o600, 0o644),
            ("go=u-w", 0o700, 0o755),
            ("g=u", 0o741, 0o771),
            ("u+s", 0o755, 0o4755),
            ("g+s", 0o755, 0o2755),
            ("o+s", 0o755, 0o755),
            ("+t", 0o777, 0o1777),
            ("u=rw,+X", 0o100, 0o711),
            ("=", 0o7777, 0o1000),
        ] {
            let parsed = ModeChange::parse(change).unwrap();
            assert_eq!(
                format!("{:o}", parsed.apply(before, false)),
                format!("{after:o}"),
                "{change} on {before:o}"
            );
        }
        assert_eq!(ModeChange::parse("a+X").unwrap().apply(0o644, true), 0o755);
        for bad in ["", "8", "u", "u+q", "+x,", "17777", "x"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad:?}");
        }
    }
}
