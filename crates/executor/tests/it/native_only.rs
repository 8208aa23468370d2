//! What our own executor promises beyond what runtimes do.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use kiln_executor::native::{NativeExecutor, Options, SandboxNetwork};
use kiln_executor::{ExecError, Executor, ExitCause, InvalidRequest, Resources, Rlimit};

use crate::fixture::{Fixture, Kind};

#[tokio::test]
async fn resource_limits() {
    let fixture = Fixture::new(Kind::Native);
    let mut request = fixture.shell("ulimit -n; ulimit -H -n; ulimit -c");
    let limit = |name: &str, soft, hard| Rlimit {
        name: name.to_owned(),
        soft,
        hard,
    };
    request.rlimits = vec![limit("nofile", 100, 200), limit("core", 0, 0)];
    assert_eq!(fixture.print_with(request).await, "100\n200\n0\n");

    let mut request = fixture.shell("true");
    request.rlimits = vec![limit("nonsense", 1, 1)];
    match fixture.run(request).await {
        Err(ExecError::Invalid(error)) => {
            assert_eq!(error, InvalidRequest::Rlimit("nonsense".to_owned()))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn out_of_memory_is_told_apart() {
    let fixture = Fixture::new(Kind::Native);
    // The kernel is told which process it may kill: not the shell.
    let victim = "(echo 1000 > /proc/self/oom_score_adj; exec tail -c 100000000)";
    let script = format!("head -c 200000000 /dev/zero | {victim} | wc -c; exit 9");
    let mut request = fixture.shell(&script);
    request.resources = Resources {
        memory: 20 << 20,
        memory_swap: 20 << 20,
        ..Resources::default()
    };
    let status = fixture.status(request).await.unwrap();
    assert_eq!((status.code, status.cause), (9, ExitCause::OutOfMemory));
    let status = fixture.status(fixture.shell("exit 9")).await.unwrap();
    assert_eq!((status.code, status.cause), (9, ExitCause::Exited));
}

#[tokio::test]
async fn cpu_limits_are_seen_by_the_step() {
    let fixture = Fixture::new(Kind::Native);
    let mut request = fixture
        .shell("cat /sys/fs/cgroup/cpu*/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true");
    request.resources = Resources {
        cpu_quota: 50_000,
        cpu_period: 100_000,
        ..Resources::default()
    };
    assert!(fixture.print_with(request).await.starts_with("50000"));
}

#[tokio::test]
async fn the_sandbox_network_is_an_option() {
    let fixture = Fixture::new(Kind::Native);
    let options = Options {
        sandbox_network: SandboxNetwork::None,
        ..Options::new(fixture.dir.path().join("state"))
    };
    let fixture = Fixture {
        executor: Box::new(NativeExecutor::new(options).unwrap()),
        ..fixture
    };
    assert_eq!(fixture.print("ls /sys/class/net").await, "lo\n");
}

#[tokio::test]
async fn signals_end_the_first_process() {
    let fixture = Fixture::new(Kind::Native);
    // From inside only exec'ed programs without a handler can be ended by a fault.
    let status = fixture
        .status(fixture.request(&["sh", "-c", "ulimit -t 1; while :; do :; done"]))
        .await
        .unwrap();
    assert_eq!((status.code, status.cause), (137, ExitCause::Signal(9)));
}

/// Runs in a process of its own, which is killed in the middle of a step.
#[test]
#[ignore = "started by the test below"]
fn victim() {
    let dir = std::env::var("VICTIM_DIR").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let executor = NativeExecutor::new(Options::new(format!("{dir}/state"))).unwrap();
        let mount = kiln_executor::Mount::bind(format!("{dir}/rootfs"));
        let script = "exec >/fifo; echo ready; (setsid sleep 1000 &); exec sleep 2000";
        let request = kiln_executor::ExecRequest::new("victim", vec![mount], ["sh", "-c", script]);
        executor
            .run(
                request,
                kiln_executor::ExecIo::default(),
                Default::default(),
            )
            .await
            .unwrap();
    });
}

#[test]
fn nothing_outlives_a_killed_engine() {
    let fixture = Fixture::new(Kind::Native);
    let fifo = fixture.rootfs().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o666.into(),
        0,
    )
    .unwrap();
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "native_only::victim", "--ignored", "--nocapture"])
        .env("VICTIM_DIR", fixture.dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = fs::File::open(&fifo).unwrap();
    let mut line = [0; 6];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ready\n");
    engine.kill().unwrap();
    engine.wait().unwrap();
    // Ends only when every process of the step is dead.
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(fixture.dir.path().to_str().unwrap()),
        "{mounts}"
    );

    // Its cgroups go with the next engine.
    let pid = engine.id();
    drop(NativeExecutor::new(Options::new(fixture.dir.path().join("state"))).unwrap());
    let left = Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("{pid}-*")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
}
