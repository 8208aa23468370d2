//! `--progress=tty`: a live view that redraws itself.

use std::fmt::Write as _;

use kiln_session::progress::{Timestamp, Update};

use super::View;
use super::state::{State, Step, amount};
use super::terminal_colors::Colors;

/// How many of a running step's last lines are shown
/// (`BUILDKIT_TTY_LOG_LINES`).
const LOG_LINES: usize = 6;

/// Narrower terminals show names without times.
const MIN_WIDTH: usize = 20;

pub(super) struct Terminal {
    out: console::Term,
    state: State,
    colors: Colors,
    log_lines: usize,
    /// Lines of the last drawing.
    drawn: usize,
}

impl View for Terminal {
    fn update(&mut self, update: &Update) {
        self.state.update(update);
        for step in self.state.steps.values_mut() {
            // The last lines are kept beside; nobody takes these.
            let open = step.line_is_open.then(|| step.lines.pop()).flatten();
            step.lines.clear();
            step.lines.extend(open);
        }
    }

    fn refresh(&mut self) {
        let (rows, columns) = self.out.size();
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let lines = self.lines(columns, Some(rows.saturating_sub(2)));
        self.draw(&lines);
    }

    fn finish(&mut self) {
        let columns = usize::from(self.out.size().1);
        let lines = self.lines(columns, None);
        self.draw(&lines);
        let failures = self.state.failures();
        super::put(&mut self.out, &failures);
    }
}

/// One line of the view.
struct Line {
    text: String,
    /// Lines of running steps stay when there is no room for all.
    is_running: bool,
}

impl Terminal {
    pub(super) fn new(out: console::Term) -> Self {
        let variable = |name| std::env::var(name).ok();
        let (colors, _) = Colors::of_process();
        let log_lines = variable("BUILDKIT_TTY_LOG_LINES").and_then(|lines| lines.parse().ok());
        let log_lines = log_lines.filter(|lines| *lines > 0);
        Self {
            out,
            state: State::default(),
            colors,
            log_lines: log_lines.unwrap_or(LOG_LINES),
            drawn: 0,
        }
    }

    /// Moves up over the last drawing and writes over it in one go, so that
    /// nothing flickers.
    fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in lines {
            let _ = writeln!(text, "\r{line}\x1b[K");
        }
        text.push_str("\x1b[J");
        super::put(&mut self.out, &text);
        self.drawn = lines.len();
    }

    fn lines(&self, columns: usize, rows: Option<usize>) -> Vec<String> {
        let (completed, total) = self.state.counts();
        let elapsed = self.state.started.map_or(0.0, |started| {
            Timestamp::now().duration_since(started).as_secs_f64()
        });
        let finished = if rows.is_none() && completed == total {
            "FINISHED"
        } else {
            ""
        };
        let head = format!("[+] Building {elapsed:.1}s ({completed}/{total}) {finished}");
        let mut lines = Vec::new();
        for step in self
            .state
            .order
            .iter()
            .filter_map(|digest| self.state.steps.get(digest))
        {
            self.step_lines(step, columns, &mut lines);
        }
        let lines = fit(lines, rows.unwrap_or(usize::MAX).saturating_sub(1));
        let head = console::truncate_str(&head, columns, "")
            .trim_end()
            .to_owned();
        std::iter::once(head).chain(lines).collect()
    }

    fn step_lines(&self, step: &Step, columns: usize, lines: &mut Vec<Line>) {
        let is_running = !step.is_completed();
        let mut add = |text: String| lines.push(Line { text, is_running });
        let (mark, color) = if step.is_cancelled() {
            ("CANCELED ", &self.colors.cancel)
        } else if !step.error.is_empty() {
            ("ERROR ", &self.colors.error)
        } else if step.cached {
            ("CACHED ", &self.colors.run)
        } else {
            ("", &self.colors.run)
        };
        let text = row(
            &format!(" => {mark}{}", step.name),
            "",
            step.seconds(),
            columns,
        );
        add(if is_running {
            text
        } else {
            format!("{color}{text}{}", self.colors.reset)
        });
        for status in &step.statuses {
            let end = status.completed.unwrap_or_else(Timestamp::now);
            let seconds = status
                .started
                .map_or(0.0, |it| end.duration_since(it).as_secs_f64());
            let text = row(
                &format!(" => => {}", status.id),
                &amount(status),
                seconds,
                columns,
            );
            let is_done = status.completed.is_some();
            add(if is_done {
                format!("{}{text}{}", self.colors.run, self.colors.reset)
            } else {
                text
            });
        }
        if is_running {
            let skip = step.last_lines.len().saturating_sub(self.log_lines);
            for line in step.last_lines.iter().skip(skip) {
                let text = format!(" => => # {}", printable(line));
                let text = console::truncate_str(&text, columns.saturating_sub(1), "");
                add(format!("{}{text}{}", self.colors.faint, self.colors.reset));
            }
        }
    }
}

/// Output of steps may hold escape sequences that would break the drawing.
fn printable(line: &str) -> String {
    let line = line.rsplit('\r').next().unwrap_or_default();
    let line = console::strip_ansi_codes(line);
    line.chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

/// A name at the left, an amount beside it and the time at the right.
fn row(name: &str, amount: &str, seconds: f64, columns: usize) -> String {
    let seconds = if seconds < 0.05 { 0.0 } else { seconds };
    let time = format!("{seconds:.1}s");
    let name = name.replace(['\t', '\n'], " ");
    if columns < MIN_WIDTH {
        return console::truncate_str(&name, columns, "").into_owned();
    }
    let amount = if amount.is_empty() {
        String::new()
    } else {
        format!(" {amount}")
    };
    let room = columns.saturating_sub(time.len() + 2);
    let amount_width = console::measure_text_width(&amount);
    let amount = if amount_width + MIN_WIDTH > room {
        String::new()
    } else {
        amount
    };
    let name_room = room.saturating_sub(console::measure_text_width(&amount));
    let left = format!("{}{amount}", console::truncate_str(&name, name_room, ""));
    format!(
        "{} {time}",
        console::pad_str(&left, room, console::Alignment::Left, None)
    )
}

/// Drops the oldest lines, those of ended steps first, until `rows` are left.
fn fit(lines: Vec<Line>, rows: usize) -> Vec<String> {
    let mut excess = lines.len().saturating_sub(rows);
    let mut kept = Vec::with_capacity(lines.len());
    for line in lines {
        if excess > 0 && !line.is_running {
            excess -= 1;
        } else {
            kept.push(line.text);
        }
    }
    kept.split_off(excess.min(kept.len()))
}
