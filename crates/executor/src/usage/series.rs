//! Samples over a time of which nobody knows how long it will be.

use std::time::Duration;

/// How far the first samples are apart.
const INTERVAL: Duration = Duration::from_secs(2);

/// Samples that never become too many: before they do, every second one goes, and further ones are taken half as often.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<T> {
    samples: Vec<T>,
    interval: Duration,
    most: usize,
}

impl<T> Series<T> {
    /// Of at most so many samples.
    pub fn new(most: usize) -> Self {
        Self {
            samples: Vec::new(),
            interval: INTERVAL,
            most: most.max(2),
        }
    }

    /// How long to wait for the next sample.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Adds a sample.
    pub fn push(&mut self, sample: T) {
        if self.samples.len() == self.most {
            let mut number = 0;
            self.samples.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.interval *= 2;
        }
        self.samples.push(sample);
    }

    /// All that are left.
    pub fn into_samples(self) -> Vec<T> {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_have_few_samples() {
        let mut series = Series::new(4);
        for number in 0..5 {
            series.push(number);
        }
        assert_eq!(series.interval(), 2 * INTERVAL);
        assert_eq!(series.clone().into_samples(), [0, 2, 4]);
        series.push(6);
        series.push(8);
        assert_eq!(series.interval(), 4 * INTERVAL);
        assert_eq!(series.into_samples(), [0, 4, 8]);
    }
}
