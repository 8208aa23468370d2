//! The image's history: one line per instruction.

use super::stage::Stage;
use crate::error::quoted;
use crate::image::{Healthcheck, History, format_time};

/// The remark that names the builder. Tools look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// What an instruction did to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It made a layer.
    Layer,
    /// It made a layer by running or copying, which the line says.
    MarkedLayer,
}

/// Adds a line.
pub(crate) fn commit(stage: &mut Stage, epoch: Option<i64>, line: String, effect: Effect) {
    let mark = if effect == Effect::MarkedLayer {
        " # buildkit"
    } else {
        ""
    };
    stage.image.history.push(History {
        created: epoch.and_then(format_time),
        created_by: format!("{line}{mark}"),
        comment: COMMENT.into(),
        empty_layer: effect == Effect::None,
        ..Default::default()
    });
}

/// `["a" "b"]`
pub(crate) fn quoted_list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(" "))
}

/// `[a b]`
pub(crate) fn plain_list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// `{Test:[CMD a] Interval:5s …}`
pub(crate) fn healthcheck(check: &Healthcheck) -> String {
    format!(
        "{{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        plain_list(&check.test),
        duration(check.interval),
        duration(check.timeout),
        duration(check.start_period),
        duration(check.start_interval),
        check.retries
    )
}

/// Prints nanoseconds in Go's way: `1h0m5s`, `1.5s`, `20ms`, `0s`.
fn duration(nanos: i64) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = match nanos {
        0 => return "0s".into(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// `nanos / unit` without trailing zeros.
fn decimal(nanos: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", nanos % unit);
    match fraction.trim_end_matches('0') {
        "" => (nanos / unit).to_string(),
        fraction => format!("{}.{fraction}", nanos / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_like_gos() {
        let second = 1_000_000_000;
        for (nanos, expected) in [
            (0, "0s"),
            (5, "5ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (5 * second, "5s"),
            (second + second / 2, "1.5s"),
            (90 * second, "1m30s"),
            (3605 * second, "1h0m5s"),
            (-second, "-1s"),
        ] {
            assert_eq!(duration(nanos), expected);
        }
    }
}
