//! Containers of a client, and processes in them.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_protocol::frontend::exec_message::Input;
use kiln_protocol::frontend::{
    ExecMessage, ExitMessage, FdMessage, InitMessage, NewContainerRequest, ReadDirRequest,
    ReadFileRequest, ReleaseContainerRequest, ResizeMessage, SignalMessage, StatFileRequest,
};
use kiln_protocol::pb::{self, Meta, Mount, MountType};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::world::{Driven, World, context};

/// A conversation about processes.
struct Talk {
    sender: mpsc::Sender<ExecMessage>,
    answers: Streaming<ExecMessage>,
    has_started: bool,
}

/// What a process said until it was done.
#[derive(Debug, Default)]
struct Said {
    /// The order of what is no output.
    events: Vec<&'static str>,
    output: BTreeMap<u32, Vec<u8>>,
    exit: ExitMessage,
}

impl Said {
    fn text(&self, fd: u32) -> String {
        let output = self.output.get(&fd);
        output.map_or(String::new(), |it| String::from_utf8_lossy(it).into_owned())
    }
}

impl Talk {
    async fn begin(build: &mut Driven) -> Self {
        let (sender, mut messages) = mpsc::channel(16);
        let messages = futures::stream::poll_fn(move |cx| messages.poll_recv(cx));
        let answers = build.client.exec_process(messages).await.unwrap();
        Self {
            sender,
            answers: answers.into_inner(),
            has_started: false,
        }
    }

    async fn say(&self, process: &str, input: Input) {
        let message = ExecMessage {
            process_id: process.to_owned(),
            input: Some(input),
        };
        self.sender.send(message).await.unwrap();
    }

    async fn start(
        &self,
        (container, process): (&str, &str),
        script: &str,
        fds: &[u32],
        tty: bool,
    ) {
        let init = InitMessage {
            container_id: container.to_owned(),
            meta: Some(Meta {
                args: ["/bin/sh", "-c", script].map(str::to_owned).into(),
                cwd: "/".into(),
                ..Meta::default()
            }),
            fds: fds.to_vec(),
            tty,
            ..InitMessage::default()
        };
        self.say(process, Input::Init(init)).await;
    }

    async fn write(&self, process: &str, data: &str, eof: bool) {
        let file = FdMessage {
            fd: 0,
            eof,
            data: Bytes::from(data.to_owned()),
        };
        self.say(process, Input::File(file)).await;
    }

    /// Listens until a process has written `text`.
    async fn until(&mut self, text: &str) {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(text) {
            let message = self.answers.message().await.unwrap().unwrap();
            match message.input {
                Some(Input::Started(_)) => self.has_started = true,
                Some(Input::File(file)) => heard.extend_from_slice(&file.data),
                _ => {}
            }
        }
    }

    /// Listens until a process is done.
    async fn finish(&mut self, process: &str) -> Result<Said, Status> {
        let mut said = Said::default();
        loop {
            let message = self.answers.message().await?.expect("the stream goes on");
            assert_eq!(message.process_id, process);
            match message.input.unwrap() {
                Input::Started(_) => {
                    self.has_started = true;
                    said.events.push("started");
                }
                Input::File(file) if file.eof => said.events.push("eof"),
                Input::File(file) => {
                    assert!(self.has_started);
                    let output = said.output.entry(file.fd).or_default();
                    output.extend_from_slice(&file.data);
                }
                Input::Exit(exit) => {
                    said.events.push("exit");
                    said.exit = exit;
                }
                Input::Done(_) => {
                    said.events.push("done");
                    return Ok(said);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

async fn container(build: &mut Driven, id: &str, mounts: Vec<Mount>) -> Result<(), Status> {
    let request = NewContainerRequest {
        container_id: id.to_owned(),
        mounts,
        hostname: "named".into(),
        extra_hosts: vec![pb::HostIp {
            host: "other".into(),
            ip: "10.1.2.3".into(),
        }],
        ..NewContainerRequest::default()
    };
    build.client.new_container(request).await.map(drop)
}

fn mount(target: &str, result: &str) -> Mount {
    Mount {
        dest: target.to_owned(),
        result_id: result.to_owned(),
        selector: if target == "/" {
            "rootfs".into()
        } else {
            String::new()
        },
        ..Mount::default()
    }
}

/// A build with one container whose root is busybox.
async fn busybox(world: &World) -> Driven {
    let mut build = world.drive().await;
    let root = build.reference(&root_definition(world)).await;
    let root = Mount {
        selector: String::new(),
        ..mount("/", &root)
    };
    container(&mut build, "box", vec![root]).await.unwrap();
    build
}

/// A definition of the root filesystem alone.
fn root_definition(_world: &World) -> kiln_engine::Definition {
    use kiln_llb::build::{Constraints, Copy, FileActions, MarshalOptions, State};
    let context = State::from_definition(&context("rootfs")).unwrap();
    let mut copy = Copy::new(context, "/rootfs", "/");
    copy.contents_only = true;
    let mut actions = FileActions::new();
    actions.copy(copy);
    State::scratch()
        .file(actions, Constraints::new())
        .marshal(&MarshalOptions::default())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_run_in_containers() {
    let world = World::with_busybox();
    for (script, code, out, err) in [
        ("echo out; echo err >&2", 0, "out\n", "err\n"),
        ("exit 3", 3, "", ""),
        (
            "hostname; grep other /etc/hosts",
            0,
            "named\n10.1.2.3\tother\n",
            "",
        ),
        // The first process of a namespace cannot kill itself.
        ("sh -c 'kill -KILL $$'; exit $?", 137, "", "Killed\n"),
        ("echo $PATH | cut -d: -f1", 0, "/usr/local/sbin\n", ""),
    ] {
        let mut build = busybox(&world).await;
        let mut talk = Talk::begin(&mut build).await;
        talk.start(("box", "p"), script, &[1, 2], false).await;
        let said = talk.finish("p").await.unwrap();
        assert_eq!(said.exit.code, code, "{script}");
        assert_eq!(said.exit.error.is_some(), code != 0, "{script}");
        assert_eq!(
            (said.text(1), said.text(2)),
            (out.into(), err.into()),
            "{script}"
        );
        assert_eq!(
            said.events,
            ["started", "eof", "eof", "exit", "done"],
            "{script}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_get_input_and_signals() {
    let world = World::with_busybox();
    let mut build = busybox(&world).await;
    let mut talk = Talk::begin(&mut build).await;
    talk.start(("box", "cat"), "cat; echo end", &[0, 1], false)
        .await;
    talk.write("cat", "one ", false).await;
    talk.write("cat", "two\n", true).await;
    let said = talk.finish("cat").await.unwrap();
    assert_eq!(said.text(1), "one two\nend\n");

    let mut build = busybox(&world).await;
    let mut talk = Talk::begin(&mut build).await;
    let script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    talk.start(("box", "p"), script, &[1], false).await;
    talk.until("ready").await;
    let signal = SignalMessage {
        name: "SIGTERM".into(),
    };
    talk.say("p", Input::Signal(signal)).await;
    let said = talk.finish("p").await.unwrap();
    assert_eq!((said.text(1).as_str(), said.exit.code), ("got\n", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_have_a_size() {
    let world = World::with_busybox();
    let mut build = busybox(&world).await;
    let mut talk = Talk::begin(&mut build).await;
    // A new size may come in a moment after the input that was sent behind it.
    let script = "tty; echo $TERM; read line; n=0; \
        until [ \"$(stty size)\" = '33 77' ] || [ $n = 100 ]; do n=$((n+1)); sleep 0.1; done; \
        stty size; echo \"[$line]\"";
    talk.start(("box", "p"), script, &[0, 1], true).await;
    talk.until("xterm").await;
    let size = ResizeMessage { rows: 33, cols: 77 };
    talk.say("p", Input::Resize(size)).await;
    talk.write("p", "hello\n", false).await;
    let said = talk.finish("p").await.unwrap();
    assert!(said.text(1).contains("33 77"), "{said:?}");
    assert!(said.text(1).contains("[hello]"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_have_mounts() {
    let world = World::with_busybox();
    let mut build = world.drive().await;
    let root = build.reference(&root_definition(&world)).await;
    let tree = build.reference(&context("tree")).await;
    let root = Mount {
        selector: String::new(),
        ..mount("/", &root)
    };
    let read_only = Mount {
        readonly: true,
        ..mount("/ro", &tree)
    };
    let selected = Mount {
        selector: "tree/dir".into(),
        ..mount("/selected", &tree)
    };
    let scratch = mount("/scratch", "");
    let memory = Mount {
        mount_type: MountType::Tmpfs as i32,
        ..mount("/memory", "")
    };
    let cache = Mount {
        mount_type: MountType::Cache as i32,
        cache_opt: Some(pb::CacheOpt {
            id: "cache".into(),
            sharing: 0,
        }),
        ..mount("/cache", "")
    };
    let mounts = vec![root, read_only, selected, scratch, memory, cache];
    container(&mut build, "box", mounts).await.unwrap();
    let mut talk = Talk::begin(&mut build).await;
    let script = "cat /ro/tree/file /selected/inner; touch /ro/x 2>/dev/null || echo -ro; \
                  echo made > /scratch/new; touch /memory/m /cache/c /selected/s && echo rw";
    talk.start(("box", "p"), script, &[1, 2], false).await;
    let said = talk.finish("p").await.unwrap();
    assert_eq!(said.text(1), "0123456789inner-ro\nrw\n", "{said:?}");

    // The files can be looked at from outside.
    for (index, path, expected) in [
        (0, "/bin/no-such", Err("no such file")),
        (1, "/tree/file", Ok("0123456789")),
        (3, "/new", Ok("made\n")),
        (4, "/m", Err("only its processes see")),
        (6, "/x", Err("out of bounds (6 available)")),
        (-1, "/x", Err("out of bounds")),
    ] {
        let request = ReadFileRequest {
            r#ref: "box".into(),
            file_path: path.into(),
            mount_index: index,
            range: None,
        };
        let read = build.client.read_file_container(request).await;
        match (read, expected) {
            (Ok(response), Ok(text)) => assert_eq!(response.into_inner().data, text),
            (Err(status), Err(part)) => {
                assert!(status.message().contains(part), "{index}: {status:?}");
            }
            (read, _) => panic!("{index} {path}: {read:?}"),
        }
    }
    let request = ReadDirRequest {
        r#ref: "box".into(),
        dir_path: "/".into(),
        mount_index: 3,
        include_pattern: String::new(),
    };
    let entries = build.client.read_dir_container(request).await.unwrap();
    assert_eq!(entries.into_inner().entries.len(), 1);
    let request = StatFileRequest {
        r#ref: "box".into(),
        path: "/new".into(),
        mount_index: 3,
    };
    let stat = build.client.stat_file_container(request).await.unwrap();
    assert_eq!(stat.into_inner().stat.unwrap().size, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn further_processes_join_a_container() {
    let world = World::with_busybox();
    let mut build = busybox(&world).await;
    let mut first = Talk::begin(&mut build).await;
    let script = "echo shared > /tmp/note; mkfifo /tmp/end; echo ready; cat /tmp/end";
    first.start(("box", "first"), script, &[1], false).await;
    first.until("ready").await;
    for (script, code, out) in [
        ("cat /tmp/note; hostname", 0, "shared\nnamed\n"),
        ("exit 4", 4, ""),
        ("tr '\\0' ' ' < /proc/1/cmdline | cut -d' ' -f1", 0, "cat\n"),
    ] {
        let mut second = Talk::begin(&mut build).await;
        second.start(("box", "second"), script, &[1], false).await;
        let said = second.finish("second").await.unwrap();
        assert_eq!(
            (said.text(1).as_str(), said.exit.code),
            (out, code),
            "{script}"
        );
    }
    let mut terminal = Talk::begin(&mut build).await;
    let script = "test -t 0 && echo terminal; echo bye > /tmp/end";
    terminal
        .start(("box", "terminal"), script, &[0, 1], true)
        .await;
    let said = terminal.finish("terminal").await.unwrap();
    assert!(said.text(1).contains("terminal"), "{said:?}");
    let said = first.finish("first").await.unwrap();
    assert_eq!(said.text(1), "bye\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn released_containers_are_stopped() {
    let world = World::with_busybox();
    let mut build = busybox(&world).await;
    let mut talk = Talk::begin(&mut build).await;
    talk.start(("box", "p"), "echo ready; sleep 100000", &[1], false)
        .await;
    talk.until("ready").await;
    let request = ReleaseContainerRequest {
        container_id: "box".into(),
    };
    build
        .client
        .release_container(request.clone())
        .await
        .unwrap();
    let said = talk.finish("p").await.unwrap();
    assert_eq!(said.exit.code, 255);
    assert_eq!(said.exit.error.unwrap().code, tonic::Code::Cancelled as i32);
    let status = build.client.release_container(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_asked_for_rightly() {
    let world = World::with_busybox();
    let mut build = busybox(&world).await;
    let status = container(&mut build, "box", vec![]).await.unwrap_err();
    assert!(status.message().contains("root filesystem"), "{status:?}");
    let unknown = vec![mount("/", "nothing")];
    let status = container(&mut build, "other", unknown).await.unwrap_err();
    assert!(
        status.message().contains("failed to find ref nothing"),
        "{status:?}"
    );
    let file = FdMessage::default();
    let init = |container: &str| InitMessage {
        container_id: container.into(),
        ..InitMessage::default()
    };
    let signal = SignalMessage { name: "X".into() };
    for (process, input, code) in [
        ("", Input::File(file.clone()), tonic::Code::InvalidArgument),
        ("p", Input::File(file), tonic::Code::NotFound),
        ("p", Input::Signal(signal), tonic::Code::NotFound),
        ("p", Input::Init(init("none")), tonic::Code::NotFound),
        ("p", Input::Init(init("box")), tonic::Code::Unknown),
    ] {
        let mut talk = Talk::begin(&mut build).await;
        talk.say(process, input.clone()).await;
        let status = talk.finish(process).await.unwrap_err();
        assert_eq!(status.code(), code, "{input:?}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_need_the_users_word() {
    let world = World::with_busybox();
    let mut build = busybox(&world).await;
    let mut talk = Talk::begin(&mut build).await;
    let init = InitMessage {
        container_id: "box".into(),
        meta: Some(Meta {
            args: vec!["/bin/true".into()],
            ..Meta::default()
        }),
        security: pb::SecurityMode::Insecure as i32,
        ..InitMessage::default()
    };
    talk.say("p", Input::Init(init)).await;
    let status = talk.finish("p").await.unwrap_err();
    assert!(
        status
            .message()
            .contains("security.insecure is not allowed")
    );
    let request = NewContainerRequest {
        container_id: "host".into(),
        network: pb::NetMode::Host as i32,
        ..NewContainerRequest::default()
    };
    let status = build.client.new_container(request).await.unwrap_err();
    assert!(status.message().contains("network.host is not allowed"));
}
