//! `HEALTHCHECK`.

use std::num::IntErrorKind;
use std::time::Duration;

use super::flags::{Flags, Holds};
use super::{Form, InstructionError, duration};

/// `HEALTHCHECK [flags] CMD <command line>` or `HEALTHCHECK NONE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", argument...]` or `["CMD-SHELL", text]`: the form of the image's configuration.
    pub test: Vec<String>,
    /// `--interval`; zero means inherit, also for the others.
    pub interval: Duration,
    /// `--timeout`.
    pub timeout: Duration,
    /// `--start-period`.
    pub start_period: Duration,
    /// `--start-interval`.
    pub start_interval: Duration,
    /// `--retries`.
    pub retries: u32,
}

impl Healthcheck {
    pub(super) fn build(
        args: &[String],
        form: Form,
        flags: &[String],
    ) -> Result<Self, InstructionError> {
        let Some((kind, command)) = args.split_first() else {
            return Err(InstructionError::NoArguments {
                keyword: "HEALTHCHECK",
            });
        };
        let kind = kind.to_uppercase();
        // Flags of NONE have never been looked at.
        match (kind.as_str(), command) {
            ("NONE", []) => {
                return Ok(Self {
                    test: vec![kind],
                    ..Self::default()
                });
            }
            ("NONE", _) => return Err(InstructionError::HealthcheckNone),
            _ => {}
        }
        let flags = Flags::read(
            flags,
            &[
                ("interval", Holds::Value),
                ("timeout", Holds::Value),
                ("start-period", Holds::Value),
                ("start-interval", Holds::Value),
                ("retries", Holds::Value),
            ],
        )?;
        if kind != "CMD" {
            return Err(InstructionError::HealthcheckType { kind });
        }
        if command.is_empty() {
            return Err(InstructionError::HealthcheckCommand);
        }
        let kind = if form == Form::Exec {
            "CMD"
        } else {
            "CMD-SHELL"
        };
        Ok(Self {
            test: std::iter::once(kind.to_owned())
                .chain(command.iter().cloned())
                .collect(),
            interval: interval(&flags, "interval")?,
            timeout: interval(&flags, "timeout")?,
            start_period: interval(&flags, "start-period")?,
            start_interval: interval(&flags, "start-interval")?,
            retries: retries(&flags)?,
        })
    }
}

fn interval(flags: &Flags, flag: &'static str) -> Result<Duration, InstructionError> {
    const SHORTEST: Duration = Duration::from_millis(1);
    let text = flags.text(flag);
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let nanoseconds = duration::parse(&text)?;
    match u64::try_from(nanoseconds).map(Duration::from_nanos) {
        Ok(interval) if interval.is_zero() || interval >= SHORTEST => Ok(interval),
        _ => Err(InstructionError::ShortInterval { flag }),
    }
}

fn retries(flags: &Flags) -> Result<u32, InstructionError> {
    let text = flags.text("retries");
    if text.is_empty() {
        return Ok(0);
    }
    let retries: i32 =
        text.parse()
            .map_err(|error: std::num::ParseIntError| InstructionError::Retries {
                value: text.clone(),
                reason: match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                },
            })?;
    u32::try_from(retries).map_err(|_| InstructionError::NegativeRetries { retries })
}
