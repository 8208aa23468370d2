//! One process of a container.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use kiln_executor::{Control, ExecError, ExecIo, ExecRequest, ExitStatus, StubRemoval, Terminal};
use kiln_llb::pb::Meta;
use kiln_protocol::frontend::exec_message::Input;
use kiln_protocol::frontend::{DoneMessage, ExitMessage, FdMessage, InitMessage, StartedMessage};
use kiln_session::SessionId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::StreamReader;

use super::conversation::Speaker;
use super::{Container, invalid};
use crate::error::{BuildError, Kind};
use crate::frontend::gateway::Gateway;
use crate::jobs::Lenders;
use crate::load::check_privileges;
use crate::ops::exec_io::{self, DEFAULT_PATH, OUTPUT_QUEUE, secret_variables, security};
use crate::wire_error;

/// The code of a process of which nothing better is known.
const UNKNOWN_EXIT: u32 = 255;

/// Input and wishes that may wait for a process.
const QUEUE: usize = 16;

/// What a client holds of a process.
pub(super) struct Handle {
    /// Its standard input, until that is closed.
    pub(super) stdin: Option<mpsc::Sender<Bytes>>,
    pub(super) control: mpsc::Sender<Control>,
}

/// Starts a process, which then speaks for itself.
pub(super) async fn start(
    gateway: &Gateway,
    container: &Arc<Container>,
    init: InitMessage,
    speaker: Speaker,
) -> Result<Handle, BuildError> {
    if let Some(fd) = init.fds.iter().find(|fd| **fd > 2) {
        let message = format!("file descriptor {fd} of a process: there are 0, 1 and 2");
        return Err(invalid(message));
    }
    let request = request(gateway, container, &init).await?;
    let bridge = &gateway.bridge;
    let executor = bridge.engine.worker.executor.get();
    let executor = executor.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
    let is_first = container.is_first();
    let (io, handle, ends) = streams(&init);
    let container = container.clone();
    let run = {
        let cancel = container.cancel.clone();
        let step = container.request.id.clone();
        async move {
            match is_first {
                true => executor.run(request, io, cancel).await,
                false => {
                    let own = SessionId::random().as_str().to_owned();
                    let request = ExecRequest { id: own, ..request };
                    executor.join(&step, request, io, cancel).await
                }
            }
        }
    };
    let tracker = container.processes.clone();
    tracker.spawn(async move {
        let forwarded = async {
            // Whatever becomes of the process: clients wait for this first.
            let _ = ends.started.await;
            speaker.say(Input::Started(StartedMessage {})).await;
            let (out, err) = (ends.stdout, ends.stderr);
            tokio::join!(
                forward(&container, &speaker, 1, out),
                forward(&container, &speaker, 2, err)
            );
        };
        let (status, ()) = tokio::join!(run, forwarded);
        speaker.say(Input::Exit(exit(status))).await;
        speaker.say(Input::Done(DoneMessage {})).await;
    });
    Ok(handle)
}

async fn request(
    gateway: &Gateway,
    container: &Container,
    init: &InitMessage,
) -> Result<ExecRequest, BuildError> {
    let bridge = &gateway.bridge;
    check_privileges(container.network, init.security, &bridge.entitlements)?;
    let meta = init.meta.clone().filter(|meta| !meta.args.is_empty());
    let Meta {
        args,
        mut env,
        cwd,
        user,
        remove_mount_stubs_recursive,
        ..
    } = meta.ok_or_else(|| invalid("a process without arguments"))?;
    let mut default = |name: &str, entry: &str| {
        if !env.iter().any(|entry| entry.starts_with(name)) {
            env.push(entry.to_owned());
        }
    };
    default("PATH=", DEFAULT_PATH);
    if init.tty {
        default("TERM=", "TERM=xterm");
    }
    let lenders = Lenders::One(&bridge.session);
    env.extend(secret_variables(&init.secretenv, &lenders).await?);
    if let Some(network) = &container.watched {
        network.announce(&mut env);
    }
    Ok(ExecRequest {
        args,
        env,
        user,
        cwd: std::path::Path::new("/").join(cwd),
        security: security(init.security)?,
        terminal: if init.tty {
            Terminal::Pty
        } else {
            Terminal::None
        },
        stubs: match remove_mount_stubs_recursive {
            true => StubRemoval::Recursive,
            false => StubRemoval::Leaf,
        },
        ..container.request.clone()
    })
}

/// Our ends of a process's streams.
struct Ends {
    stdout: Option<mpsc::Receiver<Bytes>>,
    stderr: Option<mpsc::Receiver<Bytes>>,
    started: oneshot::Receiver<()>,
}

fn streams(init: &InitMessage) -> (ExecIo, Handle, Ends) {
    let output = |fd: u32| {
        let is_open = init.fds.contains(&fd);
        is_open.then(|| mpsc::channel(OUTPUT_QUEUE)).unzip()
    };
    let (stdout, from_stdout) = output(1);
    let (stderr, from_stderr) = output(2);
    let stdin = init.fds.contains(&0).then(|| mpsc::channel::<Bytes>(QUEUE));
    let (to_stdin, stdin) = stdin.unzip();
    let (control, wishes) = mpsc::channel(QUEUE);
    let (tell, started) = oneshot::channel();
    let io = ExecIo {
        stdin: stdin.map(|mut chunks| {
            let chunks = stream::poll_fn(move |cx| chunks.poll_recv(cx));
            Box::new(StreamReader::new(chunks.map(Ok::<_, std::io::Error>))) as _
        }),
        stdout,
        stderr,
        control: Some(wishes),
        started: Some(tell),
        usage: None,
    };
    let handle = Handle {
        stdin: to_stdin,
        control,
    };
    let ends = Ends {
        stdout: from_stdout,
        stderr: from_stderr,
        started,
    };
    (io, handle, ends)
}

/// Hands on what a process writes. A client that does not listen must not
/// keep a container from ending.
async fn forward(
    container: &Container,
    speaker: &Speaker,
    fd: u32,
    chunks: Option<mpsc::Receiver<Bytes>>,
) {
    let Some(mut chunks) = chunks else { return };
    let forwarded = async {
        while let Some(data) = chunks.recv().await {
            let message = FdMessage {
                fd,
                eof: false,
                data,
            };
            speaker.say(Input::File(message)).await;
        }
        let end = FdMessage {
            fd,
            eof: true,
            data: Bytes::new(),
        };
        speaker.say(Input::File(end)).await;
    };
    tokio::select! {
        () = container.cancel.cancelled() => {}
        () = forwarded => {}
    }
}

fn exit(status: Result<ExitStatus, ExecError>) -> ExitMessage {
    match status {
        Ok(status) if status.success() => ExitMessage::default(),
        Ok(status) => ExitMessage {
            code: status.code,
            error: Some(wire_error::exit_status(status.code, status.to_string())),
        },
        Err(error) => {
            let error = BuildError::wrap(exec_io::kind(&error), error);
            ExitMessage {
                code: UNKNOWN_EXIT,
                error: Some(wire_error::to_rpc(&error, |_| String::new())),
            }
        }
    }
}
