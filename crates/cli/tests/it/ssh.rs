//! `--ssh`: OpenSSH's own `ssh-add` in a step lists the keys that the user
//! has outside of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::daemon::Daemon;
use crate::world::{World, assert_has, text, tool};

/// A context whose image has `ssh-add` with its libraries, and a key outside.
fn world() -> World {
    let world = World::with_busybox();
    let program = tool("sh", &["-c", "command -v ssh-add"]).trim().to_owned();
    let libraries = tool("ldd", &[&program]);
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in libraries.chain([program.as_str()]) {
        let copy = world
            .path("context/rootfs")
            .join(file.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(file, copy).unwrap();
    }
    world.on_busybox(&format!(
        "RUN --mount=type=ssh,required=true {program} -l > /keys\n"
    ));
    let key = world.path("key");
    tool(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", text(&key)],
    );
    world
}

/// The key as `ssh-add -l` shows it.
fn fingerprint(key: &Path) -> String {
    let shown = tool("ssh-keygen", &["-l", "-f", text(key)]);
    shown.split(' ').nth(1).unwrap().to_owned()
}

/// The user's agent; ends with its input.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path, key: &Path) -> Self {
        use std::io::BufRead as _;
        let script = format!("ssh-add -q {} && echo ready && exec cat", text(key));
        let mut child = Command::new("ssh-agent")
            .args(["-a", text(socket), "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufReader::new(stdout)
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn keys_and_agents_reach_steps_of_either_engine() {
    let world = world();
    let (key, socket) = (world.path("key"), world.path("agent"));
    let expected = fingerprint(&key);
    let _agent = Agent::start(&socket, &key);
    let daemon = Daemon::start(&world);
    for ssh in [
        format!("default={}", text(&key)),
        format!("default={}", text(&socket)),
    ] {
        let arguments = [
            "--no-cache",
            "--ssh",
            &ssh,
            "--output",
            "type=local,dest=files",
        ];
        world.must_build(&arguments);
        assert_has(&world.read("files/keys"), &expected);
        std::fs::remove_file(world.path("files/keys")).unwrap();
        daemon.must_build(&world, &arguments);
        assert_has(&world.read("files/keys"), &expected);
        std::fs::remove_file(world.path("files/keys")).unwrap();
    }
}
