//! Builds whose images are kept in a real containerd, looked at with `ctr`.

mod attestations;
mod failures;
mod images;
mod proxy;
mod sources;
mod workers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kiln_client::{Client, ClientError, ConnectOptions, Export, SolveOutcome, SolveRequest};
use kiln_session::Services;
use kiln_session::progress::{Progress, Update};
use kiln_testkit::containerd::Containerd;

use crate::process::Daemon;

/// An image that runs, and says so.
const HELLO: &str = "FROM scratch\nCOPY busybox /bin/busybox\n\
                     CMD [\"/bin/busybox\", \"echo\", \"hello from the image\"]\n";

/// A daemon that keeps images in a containerd, and a context with busybox.
struct Scene {
    dir: tempfile::TempDir,
    containerd: Containerd,
    daemon: Daemon,
}

impl Scene {
    fn new() -> Self {
        Self::with(&["--oci-worker=false", "--containerd-worker=true"])
    }

    fn with(flags: &[&str]) -> Self {
        let containerd = Containerd::start().unwrap();
        let daemon = daemon_of(&containerd.socket(), flags);
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/busybox", dir.path().join("busybox")).unwrap();
        Self {
            dir,
            containerd,
            daemon,
        }
    }

    fn ctr(&self, arguments: &[&str]) -> String {
        self.containerd.ctr(arguments).unwrap()
    }

    /// All image names, sorted.
    fn names(&self) -> Vec<String> {
        let list = self.ctr(&["images", "ls", "-q"]);
        let mut names: Vec<_> = list.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// What `ctr images check` says of an image.
    fn checked(&self, name: &str) -> String {
        let list = self.ctr(&["images", "check", &format!("name=={name}")]);
        let line = list.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name} is not in {list}"))
            .to_owned()
    }

    /// Has the garbage collected, as deleting an image does.
    fn collect(&self) {
        let names = self.names();
        self.ctr(&["images", "tag", &names[0], "garbage:1"]);
        self.ctr(&["images", "rm", "--sync", "garbage:1"]);
    }

    /// What an image prints.
    fn run(&self, name: &str) -> String {
        // Containers of all tests have one place on the machine, by namespace and id.
        let own = self.containerd.socket();
        let own = own.parent().and_then(|dir| dir.file_name()).unwrap();
        self.ctr(&["run", "--rm", name, own.to_str().unwrap()])
    }

    async fn build(&self, dockerfile: &str, output: &[(&str, &str)]) -> Built {
        self.try_build(dockerfile, &[], output).await.unwrap()
    }

    async fn try_build(
        &self,
        dockerfile: &str,
        options: &[(&str, &str)],
        output: &[(&str, &str)],
    ) -> Result<Built, ClientError> {
        build_on(&self.daemon, self.dir.path(), dockerfile, options, output).await
    }
}

/// A build that has ended well.
#[derive(Debug)]
struct Built {
    outcome: SolveOutcome,
    warnings: Vec<String>,
    steps: Vec<String>,
}

impl Built {
    fn digest(&self) -> &str {
        &self.outcome.response["containerimage.digest"]
    }
}

/// A daemon that knows of a containerd.
fn daemon_of(socket: &Path, flags: &[&str]) -> Daemon {
    let address = format!("--containerd-worker-addr={}", socket.display());
    Daemon::start(&[&[address.as_str()], flags].concat())
}

async fn connect(daemon: &Daemon) -> Client {
    let address = format!("unix://{}", daemon.socket().display());
    let address = address.parse().unwrap();
    let client = Client::connect(&address, &ConnectOptions::default()).await;
    client.unwrap()
}

/// Builds a directory to `type=image`.
async fn build_on(
    daemon: &Daemon,
    context: &Path,
    dockerfile: &str,
    options: &[(&str, &str)],
    output: &[(&str, &str)],
) -> Result<Built, ClientError> {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("Dockerfile"), dockerfile).unwrap();
    let directories: [(String, PathBuf); 2] = [
        ("context".into(), context.to_owned()),
        ("dockerfile".into(), files.path().to_owned()),
    ];
    let request = SolveRequest {
        options: owned(options),
        exports: vec![Export {
            kind: "image".into(),
            attributes: owned(output),
        }],
        ..SolveRequest::default()
    };
    let services = Services {
        directories: directories.into(),
        ..Services::default()
    };
    let heard = Arc::new(Heard::default());
    let client = connect(daemon).await;
    let outcome = client.solve(request, services, heard.clone()).await?;
    let warnings = std::mem::take(&mut *heard.warnings.lock().unwrap());
    let steps = std::mem::take(&mut *heard.steps.lock().unwrap());
    Ok(Built {
        outcome,
        warnings,
        steps,
    })
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// What a build says.
#[derive(Default)]
struct Heard {
    warnings: Mutex<Vec<String>>,
    steps: Mutex<Vec<String>>,
}

impl Progress for Heard {
    fn update(&self, update: Update) {
        let warnings = update.warnings.iter();
        let warnings = warnings.map(|it| String::from_utf8_lossy(&it.short).into_owned());
        self.warnings.lock().unwrap().extend(warnings);
        let steps = update.statuses.iter().map(|status| status.id.clone());
        self.steps.lock().unwrap().extend(steps);
    }
}
