//! How a failed command explains itself: the one printer of errors.

use kiln_client::ClientError;
use kiln_engine::BuildError;
use kiln_session::progress::{Range, SourceFile};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or its surroundings are wrong.
    Usage(String),
    /// The engine refused or failed.
    Engine(Box<BuildError>),
    /// A daemon refused or failed, or cannot be reached.
    Daemon(Box<ClientError>),
}

impl Failure {
    /// A failure that is told in one line.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// Prints source excerpts, the error, and what to try.
    pub(crate) fn print(&self) {
        match self {
            Self::Usage(message) => eprintln!("error: {message}"),
            Self::Engine(error) => {
                for location in &error.locations {
                    eprint!("{}", excerpt(&location.file, &location.ranges));
                }
                print_denials(error.denials());
                eprintln!("error: failed to solve: {}", error.message);
                for hint in &error.hints {
                    eprintln!("hint: {hint}");
                }
            }
            Self::Daemon(error) => {
                for place in error.daemon().into_iter().flat_map(|error| &error.places) {
                    eprint!("{}", excerpt(&place.file, &place.ranges));
                }
                let denials = error.daemon().into_iter().flat_map(|error| &error.denials);
                print_denials(denials.map(String::as_str));
                eprintln!("error: {error}");
                for hint in error.daemon().into_iter().flat_map(|error| &error.hints) {
                    eprintln!("hint: {hint}");
                }
            }
        }
    }
}

/// What a source policy said, in the words of BuildKit's client.
fn print_denials<'a>(reasons: impl Iterator<Item = &'a str>) {
    for reason in reasons.filter(|it| !it.is_empty()) {
        eprintln!("policy deny: {reason}");
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Daemon(Box::new(error))
    }
}

/// The failing lines with their surroundings, marked with `>>>`, in the form
/// that BuildKit prints.
fn excerpt(file: &SourceFile, ranges: &[Range]) -> String {
    let text = String::from_utf8_lossy(&file.data);
    let lines = text.split('\n').collect::<Vec<_>>();
    let ranges = ranges.iter().filter_map(|range| {
        let start = usize::try_from(range.start.line)
            .ok()
            .filter(|line| *line > 0)?;
        let end = usize::try_from(range.end.line).ok()?.max(start);
        (start <= lines.len()).then(|| (start, end.min(lines.len())))
    });
    let ranges = ranges.collect::<Vec<_>>();
    let (Some(first), Some(last)) = (
        ranges.iter().map(|range| range.0).min(),
        ranges.iter().map(|range| range.1).max(),
    ) else {
        return String::new();
    };
    let mut out = format!("{}:{first}\n--------------------\n", file.filename);
    let context = if first == last { 2 } else { 1 };
    let from = first.saturating_sub(context).max(1);
    let to = (last + context).min(lines.len());
    for number in from..=to {
        let marked = ranges
            .iter()
            .any(|range| (range.0..=range.1).contains(&number));
        let mark = if marked { ">>>" } else { "   " };
        out.push_str(&format!(" {number:3} | {mark} {}\n", lines[number - 1]));
    }
    out.push_str("--------------------\n");
    out
}
