//! `ExecProcess`: one stream of messages about any number of processes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use kiln_executor::{Control, WindowSize};
use kiln_protocol::frontend::exec_message::Input;
use kiln_protocol::frontend::{ExecMessage, FdMessage, InitMessage, ResizeMessage, SignalMessage};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::process::{self, Handle};
use super::signal;
use crate::frontend::gateway::Gateway;

/// Messages that may wait for a slow client before processes are made to wait
/// too.
const QUEUE: usize = 16;

/// Answers of a conversation.
type Answers = Pin<Box<dyn Stream<Item = Result<ExecMessage, Status>> + Send>>;

/// Says something about a process.
#[derive(Clone)]
pub(super) struct Speaker {
    process: String,
    sender: mpsc::Sender<Result<ExecMessage, Status>>,
}

impl Speaker {
    /// A client that is gone is told nothing; its build ends elsewhere.
    pub(super) async fn say(&self, input: Input) {
        let message = ExecMessage {
            process_id: self.process.clone(),
            input: Some(input),
        };
        let _ = self.sender.send(Ok(message)).await;
    }
}

/// Follows the messages of a client. Processes outlive the conversation: they
/// end with their container.
pub(in super::super) fn converse(
    gateway: Arc<Gateway>,
    messages: Streaming<ExecMessage>,
) -> Answers {
    let (sender, mut answers) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut conversation = Conversation {
            gateway: &gateway,
            sender: sender.clone(),
            processes: HashMap::new(),
        };
        let outcome = tokio::select! {
            () = gateway.ended.cancelled() => Err(gateway.gone()),
            outcome = conversation.follow(messages) => outcome,
        };
        if let Err(status) = outcome {
            let _ = sender.send(Err(status)).await;
        }
    });
    Box::pin(stream::poll_fn(move |cx| answers.poll_recv(cx)))
}

struct Conversation<'a> {
    gateway: &'a Gateway,
    sender: mpsc::Sender<Result<ExecMessage, Status>>,
    processes: HashMap<String, Handle>,
}

impl Conversation<'_> {
    async fn follow(&mut self, mut messages: Streaming<ExecMessage>) -> Result<(), Status> {
        while let Some(message) = messages.message().await? {
            let id = message.process_id;
            if id.is_empty() {
                return Err(Status::invalid_argument("ProcessID required"));
            }
            match message.input {
                Some(Input::Init(init)) => self.start(id, init).await?,
                Some(Input::File(file)) => write(self.process(&id)?, file).await?,
                Some(Input::Resize(size)) => resize(self.process(&id)?, size).await,
                Some(Input::Signal(wanted)) => send_signal(self.process(&id)?, &wanted).await?,
                Some(Input::Started(_) | Input::Exit(_) | Input::Done(_)) | None => {
                    let message = "only Init, File, Resize and Signal can be sent to a process";
                    return Err(Status::invalid_argument(message));
                }
            }
        }
        Ok(())
    }

    fn process(&mut self, id: &str) -> Result<&mut Handle, Status> {
        let process = self.processes.get_mut(id);
        process.ok_or_else(|| Status::not_found(format!("IO for process {id:?} not found")))
    }

    async fn start(&mut self, id: String, init: InitMessage) -> Result<(), Status> {
        if self.processes.contains_key(&id) {
            let message = format!("Process {id} already exists");
            return Err(Status::already_exists(message));
        }
        let container = self.gateway.containers.get(&init.container_id)?;
        let speaker = Speaker {
            process: id.clone(),
            sender: self.sender.clone(),
        };
        let handle = process::start(self.gateway, &container, init, speaker).await;
        let handle = handle.map_err(|error| self.gateway.status(&error))?;
        self.processes.insert(id, handle);
        Ok(())
    }
}

async fn write(process: &mut Handle, file: FdMessage) -> Result<(), Status> {
    let unavailable = || Status::out_of_range(format!("fd {} unavailable to write", file.fd));
    let stdin = match (file.fd, &process.stdin) {
        (0, Some(stdin)) => stdin,
        _ => return Err(unavailable()),
    };
    if !file.data.is_empty() {
        // A process that has ended reads no more, which is no error.
        let _ = stdin.send(file.data).await;
    }
    if file.eof {
        process.stdin = None;
    }
    Ok(())
}

async fn resize(process: &Handle, size: ResizeMessage) {
    let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
    let size = WindowSize {
        rows: side(size.rows),
        columns: side(size.cols),
    };
    // A process that has ended has no window.
    let _ = process.control.send(Control::Resize(size)).await;
}

async fn send_signal(process: &Handle, wanted: &SignalMessage) -> Result<(), Status> {
    let number = signal::number(&wanted.name);
    let unknown = || Status::invalid_argument(format!("Unknown signal {}", wanted.name));
    let _ = process
        .control
        .send(Control::Signal(number.ok_or_else(unknown)?))
        .await;
    Ok(())
}
