//! `--progress=plain`: lines in the form that tools parse.
//!
//! Every step gets a number when it is first shown. One running step is
//! current and shows its output at once; others keep theirs until the current
//! one has nothing to say or has had its turn.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use kiln_session::progress::{Status, Timestamp, Update};

use super::View;
use super::state::{State, Step, amount};

/// How long a step that keeps talking stays current while others wait.
const TURN: Duration = Duration::from_secs(5);

/// An activity is shown again once it moved by this part of its total, …
const NOTABLE_PART: f64 = 0.05;

/// … or this much time went by.
const NOTABLE_SECONDS: f64 = 5.0;

/// Longer names may be cut.
const NAME_LIMIT: usize = 72;

pub(super) struct Plain<W> {
    out: W,
    state: State,
    /// Numbers of the steps shown so far.
    numbers: HashMap<String, usize>,
    /// How many warnings of a step were shown.
    warned: HashMap<String, usize>,
    /// Activities as they were last shown, by step and id.
    shown: HashMap<(String, String), (i64, Timestamp)>,
    current: Option<(String, Instant)>,
    first: bool,
    /// Whether long names are cut (`PROGRESS_NO_TRUNC=0`).
    clips_names: bool,
}

impl<W: Write + Send> View for Plain<W> {
    fn update(&mut self, update: &Update) {
        self.state.update(update);
    }

    fn refresh(&mut self) {
        for digest in self.completed_with_news() {
            self.show(&digest);
        }
        if let Some(digest) = self.next_running() {
            self.show(&digest);
        }
    }

    fn finish(&mut self) {
        self.refresh();
        for digest in self.with_news(|_| true) {
            self.show(&digest);
        }
        let failures = self.state.failures();
        super::put(&mut self.out, &failures);
        let _ = self.out.flush();
    }
}

impl<W: Write> Plain<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            state: State::default(),
            numbers: HashMap::new(),
            warned: HashMap::new(),
            shown: HashMap::new(),
            current: None,
            first: true,
            clips_names: std::env::var("PROGRESS_NO_TRUNC").is_ok_and(|value| value == "0"),
        }
    }

    fn with_news(&self, wanted: impl Fn(&Step) -> bool) -> Vec<String> {
        let order = self.state.order.iter();
        let found = order.filter(|digest| {
            self.state
                .steps
                .get(*digest)
                .is_some_and(|step| step.has_news && wanted(step))
        });
        found.cloned().collect()
    }

    /// Ended steps; the current one first, so that its output stays together.
    fn completed_with_news(&self) -> Vec<String> {
        let mut completed = self.with_news(Step::is_completed);
        if let Some((current, _)) = &self.current {
            completed.sort_by_key(|digest| digest != current);
        }
        completed
    }

    /// The running step to show now.
    fn next_running(&self) -> Option<String> {
        let running = self.with_news(|step| !step.is_completed());
        match &self.current {
            Some((current, since)) if running.contains(current) => {
                let others = running.iter().find(|digest| *digest != current);
                let has_had_its_turn = since.elapsed() > TURN;
                others
                    .filter(|_| has_had_its_turn)
                    .or(Some(current))
                    .cloned()
            }
            _ => running.into_iter().next(),
        }
    }

    fn show(&mut self, digest: &str) {
        let mut text = String::new();
        self.switch_to(digest, &mut text);
        let number = self.number(digest);
        let Some(step) = self.state.steps.get_mut(digest) else {
            return;
        };
        step.has_news = false;

        let changed = std::mem::take(&mut step.changed_statuses);
        let mut has_open_status = false;
        for status in step
            .statuses
            .iter()
            .filter(|status| changed.contains(&status.id))
        {
            let key = (digest.to_owned(), status.id.clone());
            if is_notable(status, self.shown.get(&key)) {
                self.shown.insert(key, (status.current, status.timestamp));
                let _ = writeln!(text, "#{number} {}", status_line(status));
                has_open_status |= status.completed.is_none();
            }
        }
        let warned = self.warned.entry(digest.to_owned()).or_default();
        for warning in step.warnings.iter().skip(*warned) {
            let _ = writeln!(
                text,
                "#{number} WARN: {}",
                String::from_utf8_lossy(&warning.short)
            );
        }
        *warned = step.warnings.len();
        take_lines(step, number, &mut text);

        if step.is_completed() && !has_open_status {
            if step.line_is_open && !step.lines.is_empty() {
                let _ = writeln!(text, "#{number} {}", step.lines.concat());
                step.lines.clear();
            }
            let _ = writeln!(text, "#{number} {}", outcome(step));
            self.current = None;
        } else if self
            .current
            .as_ref()
            .is_none_or(|(current, _)| current != digest)
        {
            self.current = Some((digest.to_owned(), Instant::now()));
        }
        super::put(&mut self.out, &text);
    }

    /// Heads the lines of another step than the one before.
    fn switch_to(&mut self, digest: &str, text: &mut String) {
        if self
            .current
            .as_ref()
            .is_some_and(|(current, _)| current == digest)
        {
            return;
        }
        if let Some((current, _)) = self.current.take() {
            let _ = writeln!(text, "#{} ...", self.number(&current));
        }
        if !std::mem::take(&mut self.first) {
            text.push('\n');
        }
        let number = self.number(digest);
        let name = self
            .state
            .steps
            .get(digest)
            .map_or("", |step| step.name.as_str());
        let _ = writeln!(text, "#{number} {}", self.shown_name(name));
    }

    fn shown_name(&self, name: &str) -> String {
        match name.char_indices().nth(NAME_LIMIT) {
            Some((end, _)) if self.clips_names => format!("{}...", &name[..end]),
            _ => name.to_owned(),
        }
    }

    fn number(&mut self, digest: &str) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(digest.to_owned()).or_insert(next)
    }
}

/// Whole lines; one that is not finished waits for its end.
fn take_lines(step: &mut Step, number: usize, text: &mut String) {
    let mut lines = std::mem::take(&mut step.lines);
    if step.line_is_open
        && let Some(open) = lines.pop()
    {
        step.lines.push(open);
    }
    for line in lines {
        let _ = writeln!(text, "#{number} {line}");
    }
}

fn is_notable(status: &Status, before: Option<&(i64, Timestamp)>) -> bool {
    let Some((current, time)) = before else {
        return true;
    };
    let moved = match status.total {
        0 => 0.0,
        total => (status.current - current) as f64 / total as f64,
    };
    let elapsed = status.timestamp.duration_since(*time).as_secs_f64();
    status.completed.is_some() || moved >= NOTABLE_PART || elapsed >= NOTABLE_SECONDS
}

/// `extracting sha256:… 1.00MB / 2.00MB 0.3s done`
fn status_line(status: &Status) -> String {
    let mut line = status.id.clone();
    let amount = amount(status);
    if !amount.is_empty() {
        let _ = write!(line, " {amount}");
    }
    let end = status.completed.unwrap_or(status.timestamp);
    let seconds = status
        .started
        .map_or(0.0, |start| end.duration_since(start).as_secs_f64());
    if seconds > 0.01 {
        let _ = write!(line, " {seconds:.1}s");
    }
    if status.completed.is_some() {
        line.push_str(" done");
    }
    line
}

fn outcome(step: &Step) -> String {
    if step.is_cancelled() {
        "CANCELED".into()
    } else if !step.error.is_empty() {
        format!("ERROR: {}", step.error)
    } else if step.cached {
        "CACHED".into()
    } else {
        format!("DONE {:.1}s", step.seconds())
    }
}

#[cfg(test)]
mod tests {
    use kiln_session::progress::{Log, Vertex};

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    fn vertex(name: &str, started: i64, completed: Option<i64>) -> Update {
        let vertex = Vertex {
            digest: name.into(),
            name: name.into(),
            started: Some(at(started)),
            completed: completed.map(at),
            ..Vertex::default()
        };
        Update {
            vertexes: vec![vertex],
            ..Update::default()
        }
    }

    fn log(name: &str, time: i64, data: &str) -> Update {
        let log = Log {
            vertex: name.into(),
            stream: 1,
            data: data.into(),
            timestamp: at(time),
        };
        Update {
            logs: vec![log],
            ..Update::default()
        }
    }

    fn check(updates: &[Update], expected: &str) {
        let mut view = Plain::new(Vec::new());
        for update in updates {
            view.update(update);
            view.refresh();
        }
        view.finish();
        assert_eq!(String::from_utf8(view.out).unwrap(), expected);
    }

    #[test]
    fn output_is_numbered_and_timed() {
        check(
            &[
                vertex("[1/2] RUN make", 0, None),
                log("[1/2] RUN make", 250, "one\ntwo"),
                log("[1/2] RUN make", 300, " half\n"),
                vertex("[1/2] RUN make", 0, Some(1500)),
            ],
            "#1 [1/2] RUN make\n#1 0.250 one\n#1 0.250 two half\n#1 DONE 1.5s\n",
        );
    }

    #[test]
    fn cached_and_failed_steps_say_so() {
        let mut cached = vertex("a", 0, Some(0));
        cached.vertexes[0].cached = true;
        let mut failed = vertex("b", 0, Some(0));
        failed.vertexes[0].error = "boom".into();
        check(
            &[cached, vertex("b", 0, None), log("b", 5, "oops\n"), failed],
            "#1 a\n#1 CACHED\n\n#2 b\n#2 0.005 oops\n#2 ERROR: boom\n------\n > b:\n0.005 oops\n------\n",
        );
    }

    #[test]
    fn a_step_that_is_left_is_marked() {
        check(
            &[
                vertex("a", 0, None),
                vertex("b", 0, Some(100)),
                vertex("a", 0, Some(200)),
            ],
            "#1 a\n#1 ...\n\n#2 b\n#2 DONE 0.1s\n\n#1 a\n#1 DONE 0.2s\n",
        );
    }
}
