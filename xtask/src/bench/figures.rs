//! What has been measured: samples by figure and engine, medians and ratios.

use super::measure::Sample;

/// A line of the table.
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// How much of the reference's time we may take.
    pub(super) target: f64,
    ours: Vec<Sample>,
    reference: Vec<Sample>,
}

/// Medians of one engine's samples.
#[derive(Clone, Copy)]
pub(super) struct Medians {
    pub(super) seconds: f64,
    pub(super) memory: f64,
    pub(super) output: Option<f64>,
}

impl Figure {
    pub(super) fn medians(&self) -> (Option<Medians>, Option<Medians>) {
        (medians(&self.ours), medians(&self.reference))
    }

    /// Our time as a share of the reference's: the median over pairs of
    /// neighbouring samples, since what slows the machine slows both of a pair.
    pub(super) fn time_ratio(&self) -> Option<f64> {
        let pairs = self.ours.iter().zip(&self.reference);
        median(pairs.map(|(ours, reference)| ours.seconds / reference.seconds))
    }
}

/// All figures in the order in which they came.
#[derive(Default)]
pub(super) struct Figures {
    list: Vec<Figure>,
    notes: Vec<String>,
}

/// Whose sample it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Ours,
    Reference,
}

impl Figures {
    pub(super) fn add(&mut self, name: &'static str, target: f64, side: Side, sample: Sample) {
        let index = self.list.iter().position(|figure| figure.name == name);
        let index = index.unwrap_or_else(|| {
            self.list.push(Figure {
                name,
                target,
                ours: Vec::new(),
                reference: Vec::new(),
            });
            self.list.len() - 1
        });
        let figure = &mut self.list[index];
        match side {
            Side::Ours => figure.ours.push(sample),
            Side::Reference => figure.reference.push(sample),
        }
        let Sample {
            seconds, memory, ..
        } = sample;
        let who = if side == Side::Ours {
            "buildctl"
        } else {
            "reference"
        };
        println!(
            "  {name}: {who} {seconds:.4} s, {:.0} MiB",
            memory as f64 / 1048576.0
        );
    }

    /// Something to be said below the table.
    pub(super) fn note(&mut self, text: String) {
        println!("  {text}");
        self.notes.push(text);
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Figure> {
        self.list.iter()
    }
}

fn medians(samples: &[Sample]) -> Option<Medians> {
    let output = samples.iter().filter_map(|sample| sample.output);
    Some(Medians {
        seconds: median(samples.iter().map(|sample| sample.seconds))?,
        memory: median(samples.iter().map(|sample| sample.memory as f64))?,
        output: median(output.map(|bytes| bytes as f64)),
    })
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values = values.collect::<Vec<_>>();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
