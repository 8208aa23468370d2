//! The live side of a step: its streams, signals and terminal size.

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, oneshot};

use crate::usage::StepSample;

/// Streams and control of one step. A stream that is absent is `/dev/null`.
///
/// The senders should be bounded: a full channel stops reading and so, through the pipe, the process.
/// They are dropped when the stream ends, which is always before `run` returns.
#[derive(Default)]
pub struct ExecIo {
    /// Read until its end or the process's.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Receives what the process writes.
    pub stdout: Option<mpsc::Sender<Bytes>>,
    /// Receives what the process writes; unused with a terminal.
    pub stderr: Option<mpsc::Sender<Bytes>>,
    /// Signals and window sizes while the process runs.
    pub control: Option<mpsc::Receiver<Control>>,
    /// Told once the process has been started.
    pub started: Option<oneshot::Sender<()>>,
    /// Told at the end what the step used. Only the built-in executor knows it, of steps with a cgroup v2 of their own:
    /// for others this is dropped.
    pub usage: Option<oneshot::Sender<Vec<StepSample>>>,
}

/// A wish about a running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Send the signal with this number to the process.
    Signal(i32),
    /// The terminal has a new size.
    Resize(WindowSize),
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}
