//! How long work stood still for lack of something (the kernel's `Documentation/accounting/psi.rst`).

use serde::Serialize;

/// Shares of time in which something was lacking.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Pressure {
    /// To some of the work.
    pub some: Option<PressureValues>,
    /// To all of it.
    pub full: Option<PressureValues>,
}

/// A share in percent over the last seconds, and the time since ever.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PressureValues {
    /// Over 10 seconds.
    pub avg10: f64,
    /// Over a minute.
    pub avg60: f64,
    /// Over five minutes.
    pub avg300: f64,
    /// In microseconds.
    pub total: u64,
}

/// Reads a file of the kernel; `None` if it says nothing, as kernels without this do.
pub(super) fn parse(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let place = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        let values = place.get_or_insert_default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let share = value.parse().unwrap_or_default();
            match name {
                "avg10" => values.avg10 = share,
                "avg60" => values.avg60 = share,
                "avg300" => values.avg300 = share,
                "total" => values.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    let says_something = pressure.some.is_some() || pressure.full.is_some();
    says_something.then_some(pressure)
}
