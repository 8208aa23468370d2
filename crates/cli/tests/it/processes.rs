//! Several builds at once, and builds that die.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::world::{World, assert_has, outcome};

/// How long a test waits for what must happen soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a build's progress until a line has `part`.
fn wait_for_line(child: &mut Child, part: &str) {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let found = lines.any(|line| line.is_ok_and(|line| line.contains(part)));
    assert!(found, "the build ended before it said {part:?}");
}

pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// Whether a process with this text in its command line is alive.
pub(crate) fn is_running(part: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| {
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .contains(part)
        })
    })
}

fn mounts_below(world: &World) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = world.path("root").to_str().unwrap().to_owned();
    mounts
        .lines()
        .filter(|line| line.contains(&root))
        .map(str::to_owned)
        .collect()
}

#[test]
fn builds_share_one_root() {
    let world = World::with_busybox();
    world.on_busybox("RUN echo one > /out\n");
    let builds = (0..4).map(|n| world.start(&["--output", &format!("type=local,dest=files{n}")]));
    let builds = builds.collect::<Vec<_>>();
    for build in builds {
        let output = build.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for n in 0..4 {
        assert_eq!(world.read(&format!("files{n}/out")), "one\n");
    }
}

#[test]
fn a_killed_build_harms_nobody() {
    let world = World::with_busybox();
    // The sleeping time names the process among all others.
    let sleep = format!("sleep 7{}", std::process::id());
    world.on_busybox(&format!(
        "RUN echo shared > /shared\nFROM busybox AS killed\nRUN echo started && {sleep}\n\
         FROM busybox AS good\nRUN echo good > /out\n"
    ));
    let mut killed = world.start(&["--opt", "target=killed"]);
    wait_for_line(&mut killed, " started");
    let other = world.start(&["--opt", "target=good", "--output", "type=local,dest=files"]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let output = other.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    wait_until("the end of the killed build's step", || !is_running(&sleep));
    let progress = world.must_build(&["--opt", "target=good"]);
    assert_eq!(outcome(&progress, "RUN echo shared"), "CACHED");
    assert_eq!(mounts_below(&world), Vec::<String>::new());
    let usage = world.run(&["du"]);
    assert!(usage.success, "{}", usage.stderr);
    let pruned = world.run(&["prune", "--all"]);
    assert!(pruned.success, "{}", pruned.stderr);
}

#[test]
fn an_interrupted_build_stops_its_steps() {
    let world = World::with_busybox();
    let sleep = format!("sleep 8{}", std::process::id());
    world.on_busybox(&format!("RUN echo started && {sleep}\n"));
    let mut build = world.start(&[]);
    wait_for_line(&mut build, " started");
    let pid = rustix::process::Pid::from_child(&build);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = build.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_has(&String::from_utf8_lossy(&output.stderr), "context canceled");
    assert!(!is_running(&sleep), "the step is still running");
    assert_eq!(mounts_below(&world), Vec::<String>::new());
}
