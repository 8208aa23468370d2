//! A connection through another program's standard input and output.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How much of a program's complaints is kept.
const STDERR_LIMIT: u64 = 8 * 1024;

/// What a program that carried a connection said when it failed. The
/// connection's calls only learn that it closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<Option<String>>>);

impl LastWords {
    fn say(&self, words: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(words.to_owned());
    }

    /// What was said, if anything.
    pub(crate) fn get(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

/// The program's two ends. Dropping it kills the program.
#[derive(Debug)]
pub(crate) struct CommandStream {
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// How the program ended, told once; `None` after that.
    ended: Option<oneshot::Receiver<Option<String>>>,
    words: LastWords,
    watch: AbortHandle,
}

impl CommandStream {
    /// Starts the program.
    pub(crate) fn start(
        program: &str,
        arguments: &[String],
        words: LastWords,
    ) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C is for this process to handle: the program must stay
            // until the daemon was told.
            .process_group(0)
            .spawn()
            .map_err(|error| std::io::Error::new(error.kind(), format!("{program}: {error}")))?;
        let missing = || std::io::Error::other(format!("{program}: no pipes"));
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (tell, ended) = oneshot::channel();
        let program = program.to_owned();
        let watch = tokio::spawn(async move {
            let _ = tell.send(outcome(&program, child, stderr).await);
        });
        Ok(Self {
            stdin,
            stdout,
            ended: Some(ended),
            words,
            watch: watch.abort_handle(),
        })
    }
}

/// What to say about a program that ended; `None` if it ended well.
async fn outcome(program: &str, mut child: Child, stderr: ChildStderr) -> Option<String> {
    let mut said = Vec::new();
    let mut head = stderr.take(STDERR_LIMIT);
    let _ = head.read_to_end(&mut said).await;
    // Whatever else it says is drained, or it would block.
    let _ = tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await;
    let status = match child.wait().await {
        Ok(status) if status.success() => return None,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let said = String::from_utf8_lossy(&said);
    Some(format!("{program} ended ({status}): {}", said.trim()))
}

impl Drop for CommandStream {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl AsyncRead for CommandStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(ended) = &mut self.ended else {
            return Poll::Ready(Ok(()));
        };
        let message = ready!(Pin::new(ended).poll(cx));
        self.ended = None;
        Poll::Ready(match message {
            Ok(Some(message)) => {
                self.words.say(&message);
                Err(std::io::Error::other(message))
            }
            _ => Ok(()),
        })
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stdin).poll_write(cx, buf));
        Poll::Ready(unless_broken(written, buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stdin).poll_flush(cx));
        Poll::Ready(unless_broken(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.stdin).poll_shutdown(cx));
        Poll::Ready(unless_broken(shut, ()))
    }
}

/// A program that is gone is told by the reading side, with its last words.
fn unless_broken<T>(outcome: std::io::Result<T>, value: T) -> std::io::Result<T> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(value),
        outcome => outcome,
    }
}
