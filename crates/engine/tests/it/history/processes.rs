//! Several processes on one root, some of them killed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use kiln_engine::HistoryOptions;
use kiln_engine::history::ListenOptions;
use kiln_protocol::control::BuildHistoryEventType::{Complete, Deleted, Started};

use super::bench::{Bench, GOOD, gated, open, replayed, request, rest, told};

const SCENE: &str = "KILN_ENGINE_TEST_SCENE";

/// Another process in the middle of a build.
struct Builder {
    process: Child,
    output: BufReader<ChildStdout>,
    build: String,
}

impl Builder {
    fn start(bench: &Bench) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "history::processes::scene",
                "--nocapture",
                "--ignored",
            ])
            .env(
                SCENE,
                format!("{}\n{}", bench.root().display(), bench.context().display()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let build = line(&mut output);
        Self {
            process,
            output,
            build,
        }
    }

    fn finish(mut self) {
        self.process.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(line(&mut self.output), "done");
        assert!(self.process.wait().unwrap().success());
    }

    fn kill(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.build.clone()
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "it ended early");
        if let Some((_, said)) = line.trim_end().split_once("scene says: ") {
            return said.to_owned();
        }
    }
}

/// Not a test of its own: builds up to the gate, then waits for a line.
#[test]
#[ignore = "runs in child processes of other tests"]
fn scene() {
    let Ok(scene) = std::env::var(SCENE) else {
        return;
    };
    let (root, context) = scene.split_once('\n').unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = open(Path::new(root), HistoryOptions::default());
        let (request, mut key) = gated(request(Path::new(context), GOOD));
        let name = request.id.clone();
        let build = tokio::spawn({
            let engine = engine.clone();
            async move { engine.build(request).await }
        });
        key.reached().await;
        // What was reported so far is written by the time it can be read here.
        let mut status = engine
            .history()
            .status(&name, Duration::ZERO)
            .await
            .unwrap();
        status.next().await.unwrap().unwrap();
        println!("scene says: {name}");
        std::io::stdin().read_exact(&mut [0]).unwrap();
        key.open();
        build.await.unwrap().unwrap();
        println!("scene says: done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_of_other_processes_are_seen() {
    let bench = Bench::new();
    let mut listener = bench
        .engine
        .history()
        .listen(ListenOptions::default())
        .unwrap();
    let builder = Builder::start(&bench);
    let name = builder.build.clone();
    let event = listener.next().await.unwrap().unwrap();
    assert_eq!(told(&event), (Started, name.as_str()));
    let stream = bench
        .engine
        .history()
        .status(&name, Duration::ZERO)
        .await
        .unwrap();
    builder.finish();
    let event = listener.next().await.unwrap().unwrap();
    assert_eq!(told(&event), (Complete, name.as_str()));
    let followed = rest(stream).await;
    assert!(!followed.vertexes.is_empty());
    assert_eq!(followed, replayed(&bench.engine, &name).await);
    // And one of them may remove what another one made.
    bench.another().history().delete(&name).await.unwrap();
    let event = listener.next().await.unwrap().unwrap();
    assert_eq!(told(&event), (Deleted, name.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_build_is_closed_with_an_error() {
    let bench = Bench::new();
    let name = Builder::start(&bench).kill();
    let check = async |engine: &kiln_engine::Engine| {
        let record = super::bench::record(engine, &name).await;
        let error = record.error.unwrap();
        assert_eq!(error.code, 10);
        assert!(error.message.contains("was stopped"), "{}", error.message);
        assert!(record.completed_at.is_some() && record.num_total_steps > 0);
        // What it had reported until then is there.
        assert!(!replayed(engine, &name).await.vertexes.is_empty());
    };
    // By whoever looks first, or by the next process.
    check(&bench.engine).await;
    check(&bench.another()).await;
    let spools = std::fs::read_dir(bench.root().join("history")).unwrap();
    assert_eq!(spools.count(), 0, "no log is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_a_build_sees_its_process_die() {
    let bench = Bench::new();
    let builder = Builder::start(&bench);
    let stream = bench
        .engine
        .history()
        .status(&builder.build, Duration::ZERO)
        .await;
    let name = builder.kill();
    assert!(!rest(stream.unwrap()).await.vertexes.is_empty());
    assert!(bench.record(&name).await.error.is_some());
}
