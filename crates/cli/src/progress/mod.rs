//! Shows the course of a build: `--progress` and `--trace`.

mod plain;
mod raw_json;
mod state;
mod summary;
mod terminal;
mod terminal_colors;

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kiln_session::progress::{Progress, ProgressSink, Update};

use crate::failure::Failure;

/// How often the display is renewed.
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

/// The running display of one build.
pub(crate) struct Display {
    updates: Sender<Update>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts showing updates; `trace` gets all of them as JSON lines.
    pub(crate) fn start(mode: Mode, trace: Option<&Path>) -> Result<Self, Failure> {
        let mut views = vec![view(mode)];
        if let Some(path) = trace {
            let file = File::options().append(true).create(true).open(path);
            let file =
                file.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            views.push(Box::new(raw_json::RawJson::new(file)));
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

fn view(mode: Mode) -> Box<dyn View> {
    let stderr = std::io::stderr();
    match mode {
        Mode::Quiet => Box::new(summary::Quiet::default()),
        Mode::RawJson => Box::new(raw_json::RawJson::new(stderr)),
        Mode::Tty => Box::new(terminal::Terminal::new()),
        Mode::Auto | Mode::None if stderr.is_terminal() => Box::new(terminal::Terminal::new()),
        Mode::Auto | Mode::None | Mode::Plain => Box::new(plain::Plain::new(stderr)),
    }
}

fn show(updates: &Receiver<Update>, views: &mut [Box<dyn View>]) {
    let mut next_refresh = Instant::now();
    loop {
        let wait = next_refresh.saturating_duration_since(Instant::now());
        match updates.recv_timeout(wait) {
            Ok(update) if is_end(&update) => break,
            Ok(update) => views.iter_mut().for_each(|view| view.update(&update)),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                views.iter_mut().for_each(|view| view.refresh());
                next_refresh = Instant::now() + PERIOD;
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
