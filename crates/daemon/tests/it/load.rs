//! Many builds at once, some of which are cancelled or lose their client.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_client::{Client, ConnectOptions, Export, SolveRequest};
use kiln_session::progress::{Progress, Update};
use kiln_session::{Delivery, Services};
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use tokio::sync::Notify;

use crate::process::Daemon;

/// How long the daemon gets to let go of things.
const PATIENCE: Duration = Duration::from_secs(60);
const BUILDS: usize = 32;

/// A daemon with contexts to build.
struct Scene {
    dir: tempfile::TempDir,
    daemon: Daemon,
    _registry: Registry,
}

/// What becomes of a build.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Ends well, with steps that others have as well.
    Shared,
    /// Ends well, with steps of its own.
    Own,
    /// Its call is cancelled while a step runs.
    Cancelled,
    /// Its client's connection breaks while a step runs.
    Abandoned,
}

const FATES: [Fate; 4] = [Fate::Shared, Fate::Own, Fate::Cancelled, Fate::Abandoned];

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        rootfs::busybox(&base).unwrap();
        let registry = Registry::start().unwrap();
        registry.push_rootfs(&base, "busybox:latest").unwrap();
        let context = dir.path().join("context");
        std::fs::create_dir(&context).unwrap();
        for number in 0..100 {
            std::fs::write(context.join(format!("file{number}")), [b'x'; 2000]).unwrap();
        }
        // More than one packet holds.
        std::fs::write(context.join("large"), vec![b'y'; 3 << 20]).unwrap();
        let dockerfile = format!(
            "FROM {}/busybox:latest AS build\nARG NUMBER\nARG LASTS=0\nCOPY . /context\n\
             RUN echo begun && sleep $LASTS && ls /context | wc -l > /count && echo $NUMBER > /number\n\
             FROM scratch\nCOPY --from=build /count /number /\n",
            registry.host()
        );
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        Self {
            dir,
            daemon: Daemon::start(&[]),
            _registry: registry,
        }
    }

    async fn connect(&self) -> Client {
        let address = format!("unix://{}", self.daemon.socket().display());
        let address = address.parse().unwrap();
        Client::connect(&address, &ConnectOptions::default())
            .await
            .unwrap()
    }

    fn output(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("output{number}"))
    }

    /// A build on a connection of its own.
    async fn build(&self, number: usize, fate: Fate) {
        let client = self.connect().await;
        let context = self.dir.path().join("context");
        let argument = if fate == Fate::Shared { 0 } else { number };
        let mut options = vec![("build-arg:NUMBER".to_owned(), argument.to_string())];
        let ends = matches!(fate, Fate::Shared | Fate::Own);
        if !ends {
            options.push(("build-arg:LASTS".to_owned(), "600".to_owned()));
        }
        let request = SolveRequest {
            options: options.into_iter().collect(),
            exports: vec![Export {
                kind: "local".into(),
                ..Export::default()
            }],
            ..SolveRequest::default()
        };
        let services = Services {
            directories: [
                ("context".to_owned(), context.clone()),
                ("dockerfile".to_owned(), context),
            ]
            .into(),
            exports: [(0, Delivery::Directory(self.output(number)))].into(),
            ..Services::default()
        };
        let watch = Arc::new(Watch::default());
        let solve = client.solve(request, services, watch.clone());
        if ends {
            solve.await.unwrap();
            let read = |name| std::fs::read_to_string(self.output(number).join(name)).unwrap();
            assert_eq!(read("count"), "102\n");
            assert_eq!(read("number"), format!("{argument}\n"));
            return;
        }
        tokio::select! {
            outcome = solve => panic!("build {number} ended: {outcome:?}"),
            () = watch.begun.notified() => {}
        }
        if fate == Fate::Cancelled {
            // The connection is still good.
            client.workers(&[]).await.unwrap();
        }
    }
}

/// Tells when a step's output comes.
#[derive(Default)]
struct Watch {
    begun: Notify,
}

impl Progress for Watch {
    fn update(&self, update: Update) {
        if update.logs.iter().any(|log| log.data.starts_with(b"begun")) {
            self.begun.notify_one();
        }
    }
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    mounts: BTreeSet<String>,
    children: usize,
    leases: usize,
}

impl Held {
    fn by(daemon: &Daemon) -> Self {
        let process = PathBuf::from(format!("/proc/{}", daemon.id()));
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap();
        let root = daemon.path().to_string_lossy().into_owned();
        let mounts = read("mountinfo");
        let mounts = mounts.lines().filter(|line| line.contains(&root));
        Self {
            mounts: mounts.map(str::to_owned).collect(),
            children: children_of(daemon.id()),
            leases: entries(&daemon.path().join("root/leases")),
        }
    }
}

fn children_of(process: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let lists = tasks.map(|task| {
        let path = task.unwrap().path().join("children");
        std::fs::read_to_string(path).unwrap_or_default()
    });
    lists.map(|list| list.split_whitespace().count()).sum()
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

fn open_files(process: u32) -> usize {
    entries(Path::new(&format!("/proc/{process}/fd")))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind() {
    let scene = Scene::new();
    scene.build(1000, Fate::Shared).await;
    let before = Held::by(&scene.daemon);
    let files = open_files(scene.daemon.id());

    let builds = (0..BUILDS).map(|number| scene.build(number, FATES[number % FATES.len()]));
    futures::future::join_all(builds).await;

    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = Held::by(&scene.daemon);
        let open = open_files(scene.daemon.id());
        let used = scene.connect().await.disk_usage(&[]).await.unwrap();
        let held: Vec<_> = used.iter().filter(|record| record.in_use).collect();
        // A few threads wait for the next steps with what they need for them.
        if now == before && open <= files + 60 && held.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "still held: {now:?} and {open} files and {held:?}, before: {before:?} and {files}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.build(2000, Fate::Own).await;
}
