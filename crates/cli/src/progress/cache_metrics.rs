//! `--debug-json-cache-metrics`: how much of a build came from the cache.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use kiln_session::progress::Update;
use serde_json::json;

use super::View;

/// Names of steps that are not the user's begin so.
const INTERNAL: [&str; 4] = ["[internal]", "[auth]", "importing cache", "exporting "];

pub(super) struct CacheMetrics<W> {
    out: W,
    started: Instant,
    /// Steps by digest.
    steps: BTreeMap<String, Step>,
}

#[derive(Default)]
struct Step {
    name: String,
    cached: bool,
    completed: bool,
    /// It is a stage's base image.
    is_base: bool,
}

impl<W: Write> CacheMetrics<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            started: Instant::now(),
            steps: BTreeMap::new(),
        }
    }

    fn report(&self) -> String {
        let mut text = String::new();
        let users = self.steps.values();
        let users = users.filter(|step| !INTERNAL.iter().any(|it| step.name.starts_with(it)));
        let users = users.collect::<Vec<_>>();
        let count = |wanted: &dyn Fn(&Step) -> bool| users.iter().filter(|it| wanted(it)).count();
        let is_miss = |step: &Step| !step.cached && !step.is_base;
        for step in users.iter().filter(|step| is_miss(step)) {
            text.push_str(&format!("cache miss: {}\n", step.name));
        }
        // Field by field, because the order of names is part of the form.
        let fields = [
            ("total", self.steps.len()),
            (
                "completed",
                self.steps.values().filter(|step| step.completed).count(),
            ),
            ("user_total", users.len()),
            ("user_cached", count(&|step| step.cached)),
            ("user_completed", count(&|step| step.completed)),
            ("user_cacheable", count(&|step| !step.is_base)),
            ("from", count(&|step| step.is_base)),
            ("miss", count(&is_miss)),
        ];
        let fields = fields.map(|(name, value)| format!("{}:{value}", json!(name)));
        let elapsed = self.started.elapsed().as_millis();
        let fields = fields.join(",");
        text.push_str(&format!("{{{fields},\"client_duration_ms\":{elapsed}}}\n"));
        text
    }
}

impl<W: Write + Send> View for CacheMetrics<W> {
    fn update(&mut self, update: &Update) {
        for vertex in &update.vertexes {
            let step = self.steps.entry(vertex.digest.clone()).or_default();
            if step.name.is_empty() {
                step.name.clone_from(&vertex.name);
            }
            step.is_base |= is_base(&vertex.name);
            step.cached |= vertex.cached;
            step.completed |= vertex.completed.is_some();
        }
    }

    fn refresh(&mut self) {}

    fn finish(&mut self) {
        let report = self.report();
        super::put(&mut self.out, &report);
        let _ = self.out.flush();
    }
}

/// `[stage 1/3] FROM …`
fn is_base(name: &str) -> bool {
    name.starts_with('[') && name.contains("] FROM")
}

#[cfg(test)]
mod tests {
    use kiln_session::progress::{Timestamp, Vertex};

    use super::*;

    #[test]
    fn steps_are_counted_by_what_became_of_them() {
        let vertex = |name: &str, cached: bool, completed: bool| Vertex {
            digest: name.into(),
            name: name.into(),
            cached,
            completed: completed.then(Timestamp::now),
            ..Vertex::default()
        };
        let mut metrics = CacheMetrics::new(Vec::new());
        metrics.update(&Update {
            vertexes: vec![
                vertex("[internal] load build definition", false, true),
                vertex("[a 1/3] FROM busybox", false, true),
                vertex("[a 2/3] RUN one", true, true),
                vertex("[a 3/3] RUN two", false, false),
                vertex("exporting to image", false, true),
            ],
            ..Update::default()
        });
        metrics.finish();
        let text = String::from_utf8(metrics.out).unwrap();
        let (miss, report) = text.split_once('\n').unwrap();
        assert_eq!(miss, "cache miss: [a 3/3] RUN two");
        let expected = r#"{"total":5,"completed":4,"user_total":3,"user_cached":1,"user_completed":2,"user_cacheable":2,"from":1,"miss":1,"client_duration_ms":"#;
        assert!(report.starts_with(expected), "{report}");
    }
}
