//! Other processes for the tests: this same program, told to run one scene.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};

use kiln_store::Store;
use kiln_store::cache_mount::{CacheMountRequest, Sharing};

use super::setup::{Blob, Source, Way, files, layer, open, options, write};

const SCENE: &str = "KILN_STORE_TEST_SCENE";

/// A process that plays a scene. Killed at the end.
pub(crate) struct Child {
    process: process::Child,
    output: BufReader<ChildStdout>,
    input: ChildStdin,
}

impl Child {
    pub(crate) fn start(scene: &str, arguments: &[&str]) -> Child {
        Child::spawn(Child::command(scene, arguments))
    }

    pub(crate) fn start_as_nobody(scene: &str, arguments: &[&str]) -> Child {
        let mut command = Child::command(scene, arguments);
        command.uid(65534).gid(65534);
        Child::spawn(command)
    }

    /// As without root: namespaces that map one user only.
    pub(crate) fn start_in_user_namespace(scene: &str, arguments: &[&str]) -> Child {
        let plain = Child::command(scene, arguments);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command.arg(plain.get_program()).args(plain.get_args());
        command.env(SCENE, [&[scene], arguments].concat().join("\n"));
        Child::spawn(command)
    }

    fn command(scene: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::scene", "--nocapture", "--ignored"]);
        command.env(SCENE, [&[scene], arguments].concat().join("\n"));
        command
    }

    fn spawn(mut command: Command) -> Child {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let input = process.stdin.take().unwrap();
        Child {
            process,
            output,
            input,
        }
    }

    /// The next line that the scene says.
    pub(crate) fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the other process ended early"
            );
            if let Some(said) = line
                .trim_end()
                .split_once("scene says: ")
                .map(|(_, said)| said.to_owned())
            {
                return said;
            }
        }
    }

    /// Lets a scene that waits go on.
    pub(crate) fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(text: &str) {
    println!("scene says: {text}");
}

fn wait() {
    std::io::stdin().read_exact(&mut [0]).unwrap();
}

/// Not a test of its own: what a child process does.
#[test]
#[ignore = "runs in child processes of other tests"]
fn scene() {
    let Ok(text) = std::env::var(SCENE) else {
        return;
    };
    let words: Vec<&str> = text.split('\n').collect();
    let [scene, root, rest @ ..] = words.as_slice() else {
        panic!("no scene")
    };
    let store = open(Path::new(root));
    match (*scene, rest) {
        ("write a blob", []) => write_a_blob(&store),
        ("make a tree", []) => make_a_tree(&store),
        ("hold a ref", [id]) => hold_a_ref(&store, id),
        ("hold a lease", []) => hold_a_lease(&store),
        ("mount", [id]) => mount(&store, id),
        ("commit", []) => commit(&store),
        ("unpack", [way]) => unpack(&store, way),
        ("use a cache", [id]) => use_a_cache(&store, id),
        ("prune", []) => prune(&store),
        ("delete and merge", []) => delete_and_merge(&store),
        _ => panic!("unknown scene {text}"),
    }
}

fn write_a_blob(store: &Store) {
    let mut writer = store.content().writer(None).unwrap();
    writer.append(&[3; 1 << 20]).unwrap();
    writer.flush().unwrap();
    say("written");
    wait();
}

fn make_a_tree(store: &Store) {
    let base = layer(store, None, |tree| write(tree, "a", "a"));
    let made = store.mutable(Some(&base), options("unfinished")).unwrap();
    let tree = store.mount(&made.mounts().unwrap()).unwrap();
    write(tree.path(), "b", "b");
    say(made.id());
    wait();
}

fn hold_a_ref(store: &Store, id: &str) {
    let _held = store.get(id).unwrap().unwrap();
    say("held");
    wait();
}

fn hold_a_lease(store: &Store) {
    let _lease = store.lease().unwrap();
    say(store.content().put(b"leased").unwrap().digest.as_ref());
    wait();
}

fn mount(store: &Store, id: &str) {
    let base = store.get(id).unwrap().unwrap();
    let made = store.mutable(Some(&base), options("mounted")).unwrap();
    match store.mount(&made.mounts().unwrap()) {
        Ok(tree) => {
            write(tree.path(), "file", "content");
            say("mounted");
            wait();
        }
        Err(error) => say(&format!("{:?}", error.kind())),
    }
}

/// Commits one layer on the other, until killed.
fn commit(store: &Store) {
    let mut top = layer(store, None, |tree| write(tree, "0", "0"));
    for number in 1.. {
        top = layer(store, Some(&top), |tree| {
            write(tree, &number.to_string(), &number.to_string())
        });
        say(&format!("{} {number}", top.id()));
    }
}

fn unpack(store: &Store, way: &str) {
    let content = "x".repeat(5_000_000);
    let blob = Blob::new(&[("file", Some(&content))]);
    let way = if way == "stream" {
        Way::Stream
    } else {
        Way::Fetch
    };
    let source = Source::new(store, &blob.bytes, way);
    let tree = store.layer(None, blob.lazy(source)).unwrap();
    say(tree.id());
    wait();
    say("unpacking");
    runtime().block_on(tree.materialize()).unwrap();
    say("unpacked");
    wait();
}

fn use_a_cache(store: &Store, id: &str) {
    let request = CacheMountRequest {
        id,
        sharing: Sharing::Locked,
        seed: None,
        fill: None,
        description: String::new(),
    };
    let cache = runtime().block_on(store.cache_mount(request)).unwrap();
    say(cache.id());
    wait();
}

fn prune(store: &Store) {
    say("ready");
    wait();
    let mut count = 0;
    let options = kiln_store::gc::PruneOptions {
        all: true,
        ..Default::default()
    };
    store
        .prune(&options, &mut |_| {
            count += 1;
            true
        })
        .unwrap();
    say(&count.to_string());
}

fn delete_and_merge(store: &Store) {
    let base = layer(store, None, |tree| {
        write(tree, "gone", "");
        write(tree, "dir/old", "");
    });
    let top = layer(store, Some(&base), |tree| {
        std::fs::remove_file(tree.join("gone")).unwrap();
        std::fs::remove_dir_all(tree.join("dir")).unwrap();
        write(tree, "dir/new", "");
    });
    say(&format!("{:?}", files(store, &top).keys()));
    let changes = store.diff(Some(&base), Some(&top), options("")).unwrap();
    let other = layer(store, None, |tree| {
        write(tree, "gone", "");
        write(tree, "dir/old", "");
        write(tree, "dir/own", "");
    });
    let merged = store
        .merge(&[Some(other), changes], options(""))
        .unwrap()
        .unwrap();
    say(&format!("{:?}", files(store, &merged).keys()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}
