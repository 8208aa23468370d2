//! The same Dockerfiles, here and in the BuildKit inside a real dockerd: equal
//! image configs, equal layers, equal errors and equal lint warnings.
//!
//! The Dockerfiles of `tests/differential` are built on one context: those in
//! `builds` must build, and those in `errors` must fail. Layers are compared by the digests that the configs have of them, so all of each file is:
//! its bytes, mode, owner, links, attributes and times. Files of the context have
//! times long ago, which are compared as they are; what a build makes anew is
//! younger than [`EPOCH`], and both engines export it with that time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use kiln_testkit::docker::Docker;
use kiln_testkit::tools;
use serde_json::Value;

use crate::world::{Ran, World, ran, text, tool};

/// So many cases are built at once: a build waits for programs that start.
const WORKERS: usize = 4;

/// The age that is exported of all that is younger: times are then defined.
const EPOCH: &str = "1700000000";

/// A Dockerfile and the options in its lines `# case: KEY=VALUE`.
struct Case {
    name: String,
    dockerfile: PathBuf,
    expected: Expected,
    options: Vec<(String, String)>,
    /// Where the older BuildKit is known to differ: `# case: differs=PART, WHY`.
    differs: Vec<String>,
}

/// What is to become of a case; a Dockerfile that fails unintended compares little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Success,
    Failure,
}

/// What one engine makes of a case.
struct Outcome {
    config: Value,
    /// The uncompressed layers.
    layers: Vec<PathBuf>,
    failure: Option<Failure>,
    warnings: BTreeSet<String>,
    /// What is printed of a Dockerfile that is not built: `# case: call=KIND`.
    answer: String,
}

/// What is said of a failed build.
#[derive(Debug)]
struct Failure {
    /// The lines of the Dockerfile that are marked, with their numbers.
    marked: BTreeSet<String>,
    message: String,
}

/// Where the Dockerfiles and their context are.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential")
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Ours,
    Theirs,
}

/// A context for all cases, our engine, and BuildKit in a dockerd.
struct Comparison {
    docker: Docker,
    world: World,
}

impl Outcome {
    /// The parts of one outcome that are not those of another, with how.
    fn differences(&self, theirs: &Self) -> Vec<(&'static str, String)> {
        let mut parts = Vec::new();
        let (config, other) = (comparable(&self.config), comparable(&theirs.config));
        if config != other {
            parts.push(("config", format!("{config:#}\nthere\n{other:#}")));
        }
        if self.config["rootfs"] != theirs.config["rootfs"] {
            let difference = layer_differences(&self.layers, &theirs.layers);
            parts.push(("layers", difference));
        }
        let is_same = match (&self.failure, &theirs.failure) {
            (Some(ours), Some(theirs)) => ours.says(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if !is_same {
            let difference = format!("{:#?}\nthere\n{:#?}", self.failure, theirs.failure);
            parts.push(("error", difference));
        }
        if self.warnings != theirs.warnings {
            let difference = set_differences(&self.warnings, &theirs.warnings);
            parts.push(("warnings", difference));
        }
        if self.answer != theirs.answer {
            let difference = format!("{}\nthere\n{}", self.answer, theirs.answer);
            parts.push(("answer", difference));
        }
        parts
    }
}

impl Case {
    fn read(dockerfile: PathBuf, expected: Expected) -> Self {
        let content = fs::read_to_string(&dockerfile).unwrap();
        let options = content
            .lines()
            .filter_map(|line| line.strip_prefix("# case: "));
        let options = options.map(|option| option.split_once('=').unwrap());
        let (differs, options): (Vec<_>, Vec<_>) = options
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .partition(|(key, _)| key == "differs");
        let differs = differs.into_iter().map(|(_, why)| {
            let (part, _) = why.split_once(", ").expect("a part and a reason");
            part.to_owned()
        });
        Self {
            name: dockerfile.file_name().unwrap().to_str().unwrap().to_owned(),
            dockerfile,
            expected,
            differs: differs.collect(),
            options,
        }
    }

    fn all() -> Vec<Self> {
        let folders = [("builds", Expected::Success), ("errors", Expected::Failure)];
        let cases = folders.into_iter().flat_map(|(folder, expected)| {
            let entries = fs::read_dir(directory().join(folder)).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            let dockerfiles = paths.filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "Dockerfile")
            });
            dockerfiles.map(move |path| Self::read(path, expected))
        });
        cases.collect()
    }

    fn is_built(&self) -> bool {
        self.options.iter().all(|(key, _)| key != "call")
    }

    /// The flags of the options.
    fn arguments(&self, side: Side) -> Vec<String> {
        let options = self.options.iter();
        options
            .flat_map(|(key, value)| match (side, key.as_str()) {
                (Side::Theirs, _) => vec![format!("--{key}"), value.clone()],
                (Side::Ours, "build-context") => {
                    let (name, _) = value.split_once('=').unwrap();
                    let context = format!("context:{name}=local:{name}");
                    ["--opt", &context, "--local", value]
                        .map(str::to_owned)
                        .to_vec()
                }
                (Side::Ours, "build-arg" | "label") => {
                    vec!["--opt".to_owned(), format!("{key}:{value}")]
                }
                (Side::Ours, "add-host") => {
                    let value = value.replacen(':', "=", 1);
                    vec!["--opt".to_owned(), format!("add-hosts={value}")]
                }
                (Side::Ours, "call") => {
                    vec!["--opt".to_owned(), format!("requestid=frontend.{value}")]
                }
                (Side::Ours, _) => vec!["--opt".to_owned(), format!("{key}={value}")],
            })
            .collect()
    }
}

impl Comparison {
    fn start() -> Self {
        let world = World::with_busybox();
        let mut command = Command::new("bash");
        command
            .arg(directory().join("context.sh"))
            .current_dir(world.path("context"));
        let made = ran(command.output().unwrap());
        assert!(made.success, "{}", made.stderr);
        world.write("token", "very secret");
        Self {
            docker: Docker::start_in_memory().unwrap(),
            world,
        }
    }

    fn ours(&self, case: &Case) -> Command {
        let mut command = self
            .world
            .command(&["build", "--frontend", "dockerfile.v0"]);
        command.args(["--opt", "force-network-mode=none"]);
        command.args(["--opt", &format!("filename={}", case.name)]);
        command.args(["--local", "context=context"]);
        let folder = case.dockerfile.parent().unwrap();
        command.args(["--local", &format!("dockerfile={}", text(folder))]);
        command
    }

    fn theirs(&self, case: &Case) -> Command {
        let mut command = Command::new(tools::buildx());
        command
            .current_dir(self.world.path("."))
            .env("DOCKER_HOST", self.docker.address())
            // A client with a configuration of its own shares no context with others:
            // a directory to which BuildKit adds files in a later transfer gets the
            // time of then.
            .env("BUILDX_CONFIG", self.world.path("buildx").join(&case.name))
            .env("DOCKER_CONFIG", self.world.path("docker"))
            .env_remove("SOURCE_DATE_EPOCH");
        command.args(["build", "context", "--provenance=false", "--network=none"]);
        command.args(["--file", text(&case.dockerfile)]);
        command
    }

    fn build(&self, side: Side, case: &Case) -> Outcome {
        let mut command = match side {
            Side::Ours => self.ours(case),
            Side::Theirs => self.theirs(case),
        };
        let archive = format!("made/{}/{side:?}.tar", case.name);
        let output = format!(
            "type=oci,dest={archive},compression=uncompressed,\
             source-date-epoch={EPOCH},rewrite-timestamp=true"
        );
        if case.is_built() {
            command.args(["--output", &output]);
        }
        command.args(["--progress=rawjson", "--secret", "id=token,src=token"]);
        let ran = ran(command.args(case.arguments(side)).output().unwrap());
        let (config, layers) = match ran.success && case.is_built() {
            true => image(&self.world.path(&archive)),
            false => (Value::Null, Vec::new()),
        };
        Outcome {
            config,
            layers,
            failure: (!ran.success).then(|| Failure::of(&ran)),
            warnings: warnings(&ran),
            answer: ran.stdout.trim().to_owned(),
        }
    }

    /// The ways in which the engines differ on a case.
    fn differences(&self, case: &Case) -> Vec<String> {
        let made = self.world.path("made").join(&case.name);
        fs::create_dir_all(&made).unwrap();
        let [ours, theirs] = [Side::Ours, Side::Theirs].map(|side| self.build(side, case));
        let parts = ours.differences(&theirs);
        fs::remove_dir_all(made).unwrap();
        let known = |part: &str| case.differs.iter().any(|known| known == part);
        let gone = case
            .differs
            .iter()
            .filter(|known| parts.iter().all(|(part, _)| part != known));
        let gone = gone.map(|part| format!("== {}: {part}: no longer differs\n", case.name));
        let differences = parts.iter().filter(|(part, _)| !known(part));
        let differences = differences
            .map(|(part, difference)| format!("== {}: {part}\n{difference}\n", case.name));
        let came = match theirs.failure {
            None => Expected::Success,
            Some(_) => Expected::Failure,
        };
        let unexpected = (came != case.expected)
            .then(|| format!("== {}: {came:?}: {:#?}\n", case.name, theirs.failure));
        differences.chain(gone).chain(unexpected).collect()
    }
}

impl Failure {
    fn of(ran: &Ran) -> Self {
        let is_marked = |line: &&str| line.contains(" | >>> ");
        // The client of BuildKit says one or the other, by which of two calls ends first.
        let heads = ["failed to solve: ", "failed to run Build function: "];
        let message = heads.iter().find_map(|head| ran.stderr.rsplit_once(head));
        let message = message.unwrap_or(("", &ran.stderr)).1.trim();
        Self {
            marked: ran
                .stderr
                .lines()
                .filter(is_marked)
                .map(str::to_owned)
                .collect(),
            message: without_reference(message),
        }
    }

    /// Whether one says what the other does. Ours may mark lines where BuildKit
    /// marks none, and go on, with a way out, where BuildKit's message ends.
    fn says(&self, other: &Self) -> bool {
        let more = self.message.strip_prefix(&other.message);
        let says_all = more.is_some_and(|more| !more.starts_with(char::is_alphanumeric));
        says_all && (other.marked.is_empty() || self.marked == other.marked)
    }
}

/// A message without the name that a context has in an engine by chance.
fn without_reference(message: &str) -> String {
    let Some((before, after)) = message.split_once("checksum of ref ") else {
        return message.to_owned();
    };
    let name = after.find(": ").unwrap_or(after.len());
    format!("{before}checksum of ref{}", &after[name..])
}

/// A config without what is not of interest: the digests of layers, which are
/// compared by themselves, and the text of health checks in the history, which
/// newer BuildKits write in another form.
fn comparable(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(rootfs) = config.get_mut("rootfs") {
        let layers = rootfs["diff_ids"].as_array().map_or(0, Vec::len);
        rootfs["diff_ids"] = layers.into();
    }
    for entry in config["history"].as_array_mut().into_iter().flatten() {
        let made_by = entry["created_by"].as_str().unwrap_or_default();
        if made_by.starts_with("HEALTHCHECK ") {
            entry["created_by"] = "HEALTHCHECK".into();
        }
    }
    config
}

/// The config and the layers of the image in an archive, which is unpacked.
fn image(archive: &Path) -> (Value, Vec<PathBuf>) {
    let layout = archive.with_extension("");
    fs::create_dir(&layout).unwrap();
    tool("tar", &["-xf", text(archive), "-C", text(&layout)]);
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replacen(':', "/", 1))
    };
    let manifest = json(&blob(&json(&layout.join("index.json"))["manifests"][0]));
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    (
        json(&blob(&manifest["config"])),
        layers.iter().map(blob).collect(),
    )
}

/// The lint warnings in an engine's progress, each with its rule, text and line.
fn warnings(ran: &Ran) -> BTreeSet<String> {
    let updates = ran.stderr.lines().filter(|line| line.starts_with('{'));
    let mut warnings = BTreeSet::new();
    for update in updates {
        let update: Value = serde_json::from_str(update).unwrap();
        for warning in update["warnings"].as_array().into_iter().flatten() {
            let decoded = |value: &Value| {
                let bytes = BASE64_STANDARD
                    .decode(value.as_str().unwrap_or_default())
                    .unwrap();
                String::from_utf8(bytes).unwrap()
            };
            let detail = decoded(&warning["detail"][0]);
            let (short, range) = (decoded(&warning["short"]), &warning["range"]);
            warnings.insert(format!("{short}: {detail} {} {range}", warning["url"]));
        }
    }
    warnings
}

fn set_differences(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> String {
    let ours_only = ours
        .difference(theirs)
        .map(|line| format!("only here:  {line}\n"));
    let theirs_only = theirs
        .difference(ours)
        .map(|line| format!("only there: {line}\n"));
    ours_only.chain(theirs_only).collect()
}

/// The entries of layers by which they differ, as GNU tar lists them, and the
/// digests of their contents.
fn layer_differences(ours: &[PathBuf], theirs: &[PathBuf]) -> String {
    let entries = |layer: &PathBuf| -> BTreeSet<String> {
        let layer = text(layer);
        let attributes = ["--numeric-owner", "--xattrs", "--xattrs-include=*"];
        let list = [&attributes[..], &["--full-time", "-tvvf", layer]].concat();
        let content = r#"--to-command=printf "%s " "$TAR_FILENAME"; sha256sum"#;
        let listed = tool("tar", &list) + &tool("tar", &["-xf", layer, content]);
        listed.lines().map(str::to_owned).collect()
    };
    let layers = ours.iter().zip(theirs).enumerate();
    let differing = layers.filter(|(_, (ours, theirs))| ours.file_name() != theirs.file_name());
    let lines = differing.map(|(number, (ours, theirs))| {
        let entries = set_differences(&entries(ours), &entries(theirs));
        format!("layer {number}:\n{entries}")
    });
    lines.collect()
}

#[test]
fn builds_come_to_the_same() {
    let cases = Case::all();
    assert!(cases.len() >= 160, "{} cases", cases.len());
    let comparison = Comparison::start();
    let queue = Mutex::new(cases.iter());
    let differences = Mutex::new(Vec::new());
    let work = || {
        let next = || queue.lock().unwrap().next();
        while let Some(case) = next() {
            let found = comparison.differences(case);
            differences.lock().unwrap().extend(found);
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut differences = differences.into_inner().unwrap();
    differences.sort();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
