//! Shows the course of a build: `--progress`, `--trace` and
//! `--debug-json-cache-metrics`.

mod cache_metrics;
mod plain;
mod raw_json;
mod state;
mod summary;
mod terminal;
mod terminal_colors;

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use kiln_session::progress::{Progress, ProgressSink, Update};

use crate::failure::Failure;

/// How often the display is renewed, unless `TTY_DISPLAY_RATE` says another
/// number of milliseconds.
const PERIOD: Duration = Duration::from_millis(100);

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A live view on a terminal, plain lines elsewhere.
    Auto,
    /// One line for each event, with the steps' output.
    Plain,
    /// A live view.
    Tty,
    /// Nothing but errors.
    Quiet,
    /// Everything as JSON, one update a line.
    #[value(name = "rawjson")]
    RawJson,
    /// The live view or plain lines, as BuildKit names it.
    #[value(hide = true)]
    None,
}

/// One way to show updates. Methods are called from one thread.
trait View: Send {
    /// Takes news.
    fn update(&mut self, update: &Update);
    /// Brings the display up to date; called regularly.
    fn refresh(&mut self);
    /// Shows what is left to show.
    fn finish(&mut self);
}

/// Where the display goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, for commands whose result it is.
    Stdout,
    /// Standard error, beside a result.
    Stderr,
}

impl Stream {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => std::io::stdout().is_terminal(),
            Self::Stderr => std::io::stderr().is_terminal(),
        }
    }

    fn writer(self) -> Box<dyn Write + Send> {
        match self {
            Self::Stdout => Box::new(std::io::stdout()),
            Self::Stderr => Box::new(std::io::stderr()),
        }
    }

    fn terminal(self) -> console::Term {
        match self {
            Self::Stdout => console::Term::stdout(),
            Self::Stderr => console::Term::stderr(),
        }
    }
}

/// A file that gets news beside the display.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// All updates as JSON lines, behind what the file has.
    Trace(PathBuf),
    /// What was cached, once the build is over. `stdout` and `stderr` are
    /// those streams.
    CacheMetrics(PathBuf),
}

/// The running display of one build.
pub(crate) struct Display {
    updates: Sender<Update>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts showing updates.
    pub(crate) fn start(mode: Mode, stream: Stream, records: Vec<Record>) -> Result<Self, Failure> {
        let mut views = vec![view(mode.resolve()?, stream)];
        for record in &records {
            views.push(record.open()?);
        }
        let (updates, received) = channel();
        let thread = std::thread::Builder::new().name("progress".into());
        let thread = thread.spawn(move || show(&received, &mut views));
        let thread =
            thread.map_err(|error| Failure::usage(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            updates,
            thread: Some(thread),
        })
    }

    /// Where updates go.
    pub(crate) fn sink(&self) -> ProgressSink {
        Arc::new(Channel(self.updates.clone()))
    }

    /// Shows everything sent so far and ends.
    pub(crate) fn finish(self) {
        let Self { updates, thread } = self;
        // An empty update is the end: senders may be alive somewhere still.
        let _ = updates.send(Update::default());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Mode {
    /// `$BUILDKIT_PROGRESS` stands for `auto`.
    fn resolve(self) -> Result<Self, Failure> {
        let variable = std::env::var("BUILDKIT_PROGRESS").unwrap_or_default();
        if self != Self::Auto || variable.is_empty() {
            return Ok(self);
        }
        Self::from_str(&variable, false).map_err(|_| {
            Failure::usage(format!(
                "BUILDKIT_PROGRESS: invalid progress mode {variable} \
                 (known: auto, plain, tty, quiet, rawjson)"
            ))
        })
    }
}

impl Record {
    fn open(&self) -> Result<Box<dyn View>, Failure> {
        let (Self::Trace(path) | Self::CacheMetrics(path)) = self;
        let mut options = File::options();
        options.create(true).mode(0o600);
        match self {
            Self::Trace(_) => options.append(true),
            Self::CacheMetrics(_) => options.write(true).truncate(true),
        };
        let open = || {
            let file = options.open(path);
            file.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        };
        Ok(match self {
            Self::Trace(_) => Box::new(raw_json::RawJson::new(open()?)),
            Self::CacheMetrics(_) => {
                Box::new(cache_metrics::CacheMetrics::new(match path.to_str() {
                    Some("stdout") => Stream::Stdout.writer(),
                    Some("stderr") => Stream::Stderr.writer(),
                    _ => Box::new(open()?),
                }))
            }
        })
    }
}

/// Says what is wrong with `$BUILDKIT_COLORS`; like upstream whatever the command is, since who
/// set the variable may never look at a live view.
pub(crate) fn warn_of_colors() {
    let (_, complaints) = terminal_colors::Colors::of_process();
    for complaint in complaints {
        eprintln!("warning: BUILDKIT_COLORS: {complaint}");
    }
}

fn view(mode: Mode, stream: Stream) -> Box<dyn View> {
    match mode {
        Mode::Quiet => Box::new(summary::Quiet::default()),
        Mode::RawJson => Box::new(raw_json::RawJson::new(stream.writer())),
        Mode::Tty => Box::new(terminal::Terminal::new(stream.terminal())),
        Mode::Auto | Mode::None if stream.is_terminal() => {
            Box::new(terminal::Terminal::new(stream.terminal()))
        }
        Mode::Auto | Mode::None | Mode::Plain => Box::new(plain::Plain::new(stream.writer())),
    }
}

fn period() -> Duration {
    let rate = std::env::var("TTY_DISPLAY_RATE").ok();
    let rate = rate.and_then(|rate| rate.parse::<u64>().ok());
    rate.filter(|rate| *rate > 0)
        .map_or(PERIOD, Duration::from_millis)
}

fn show(updates: &Receiver<Update>, views: &mut [Box<dyn View>]) {
    let period = period();
    let mut next_refresh = Instant::now();
    loop {
        let wait = next_refresh.saturating_duration_since(Instant::now());
        match updates.recv_timeout(wait) {
            Ok(update) if is_end(&update) => break,
            Ok(update) => views.iter_mut().for_each(|view| view.update(&update)),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                views.iter_mut().for_each(|view| view.refresh());
                next_refresh = Instant::now() + period;
            }
        }
    }
    views.iter_mut().for_each(|view| view.finish());
}

fn is_end(update: &Update) -> bool {
    update.vertexes.is_empty()
        && update.statuses.is_empty()
        && update.logs.is_empty()
        && update.warnings.is_empty()
}

/// Sends updates to the display's thread.
struct Channel(Sender<Update>);

impl Progress for Channel {
    fn update(&self, update: Update) {
        if !is_end(&update) {
            let _ = self.0.send(update);
        }
    }
}

/// Writes and ignores failure: a display that nobody can see any more must
/// not fail a build.
fn put(out: &mut impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}
