//! The workloads. Each round takes every engine through the same builds, the
//! engines in turn; which one is first changes from round to round.

mod caches;
mod images;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::daemon::Daemon;
use super::engine::{Build, Cache, Client, Engine, Ours, Output, RemoteCache};
use super::figures::{Figures, Side};
use super::inputs;
use super::measure::{Sample, measure, resident};
use super::process::WorkFolder;
use super::registry::Registry;

/// How large the inputs are.
pub(super) struct Sizes {
    pub(super) steps: usize,
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// Steps of the short build that start-up costs are taken from.
const FEW_STEPS: usize = 2;

/// Everything that a workload needs.
pub(super) struct Bench {
    /// Our engine in the client's process.
    pub(super) embedded: Engine,
    /// Our engine behind its daemon, with our own client and with the reference's.
    pub(super) daemons: Option<[Engine; 2]>,
    pub(super) reference: Option<Engine>,
    pub(super) sizes: Sizes,
    pub(super) registry: Registry,
    /// Makes images; its state is not that of the engine that is measured.
    pub(super) workshop: Ours,
    /// The base image's name.
    pub(super) base: String,
    /// Last, because servers end before their folders go.
    pub(super) work: WorkFolder,
}

/// One workload: makes its inputs and measures one round.
pub(super) type Workload = fn(&Bench, usize, &mut Figures) -> Result<(), String>;

/// All workloads by name.
pub(super) const WORKLOADS: &[(&str, Workload)] = &[
    ("steps", steps),
    ("context", context),
    ("export", images::export),
    ("push", images::push),
    ("pull", images::pull),
    ("load", images::load),
    ("caches", caches::caches),
    ("daemon", daemon),
    ("buildx", buildx),
    ("soak", soak),
];

/// Builds in a row on one daemon, and after how many of them memory is looked
/// at for the first time.
const MANY_BUILDS: usize = 200;
const FIRST_BUILDS: usize = 20;
/// Of the builds in a row, so many go on at once.
const AT_ONCE: usize = 4;

/// Which of our two forms takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Embedded,
    Daemon(Client),
}

impl Bench {
    /// Lets every engine make the same build; what it writes is removed again.
    fn each(
        &self,
        (form, round): (Form, usize),
        build: &Build<'_>,
        mut done: impl FnMut(Side, Sample),
    ) -> Result<(), String> {
        for (side, engine) in self.in_turn(form, round) {
            done(side, measure(engine, build, &self.work.join("build.log"))?);
            if let Output::Archive(path, _) | Output::Folder(path) = build.output {
                inputs::remove(path);
            }
        }
        Ok(())
    }

    fn in_turn(&self, form: Form, round: usize) -> impl Iterator<Item = (Side, &Engine)> {
        let ours = match form {
            Form::Embedded => Some(&self.embedded),
            Form::Daemon(Client::Own) => self.daemons.as_ref().map(|[own, _]| own),
            Form::Daemon(Client::Buildx) => self.daemons.as_ref().map(|[_, buildx]| buildx),
        };
        let reference = self.reference.as_ref();
        let mut engines: Vec<_> = ours
            .map(|engine| (Side::Ours, engine))
            .into_iter()
            .chain(reference.map(|engine| (Side::Reference, engine)))
            .collect();
        let count = engines.len().max(1);
        engines.rotate_left(round % count);
        engines.into_iter()
    }

    fn context(&self, name: &str) -> PathBuf {
        self.work.join("contexts").join(name)
    }
}

fn kept(context: &Path, cache: Cache) -> Build<'_> {
    Build {
        context,
        cache,
        remote: RemoteCache::None,
        output: Output::Kept,
    }
}

/// Time per step, and a build of cached steps only.
fn steps(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let (short, long) = (bench.context("short"), bench.context("long"));
    inputs::steps(&short, &bench.base, FEW_STEPS)?;
    inputs::steps(&long, &bench.base, bench.sizes.steps)?;
    let mut few = Vec::new();
    bench.each(
        (Form::Embedded, round),
        &kept(&short, Cache::Ignore),
        |side, sample| few.push((side, sample)),
    )?;
    bench.each(
        (Form::Embedded, round),
        &kept(&long, Cache::Ignore),
        |side, many| {
            let few = few
                .iter()
                .find(|(other, _)| *other == side)
                .map_or(0.0, |(_, it)| it.seconds);
            let seconds = (many.seconds - few) / (bench.sizes.steps - FEW_STEPS) as f64;
            figures.add("RUN step, each", 0.2, side, Sample { seconds, ..many });
        },
    )?;
    for _ in 0..3 {
        bench.each(
            (Form::Embedded, round),
            &kept(&long, Cache::Use),
            |side, sample| {
                figures.add("cached build of all steps", 1.0 / 3.0, side, sample);
            },
        )?;
    }
    Ok(())
}

/// A context of many small files, and the same many files as output.
fn context(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let names = [
        "context of small files, first",
        "the same, unchanged",
        "the same, one file changed",
        "local export of small files",
    ];
    small_files(bench, (Form::Embedded, round), (names, 1.0), figures)
}

/// The builds behind four figures: the context new, unchanged and with one
/// file changed, and an export of it.
fn small_files(
    bench: &Bench,
    turn: (Form, usize),
    (names, target): ([&'static str; 4], f64),
    figures: &mut Figures,
) -> Result<(), String> {
    let (form, round) = turn;
    let kind = match form {
        Form::Embedded => 0,
        Form::Daemon(Client::Own) => 1,
        Form::Daemon(Client::Buildx) => 2,
    };
    let number = round * 3 + kind;
    let context = bench.context(&format!("many{number}"));
    let dockerfile = format!("FROM {}\nCOPY files /files\n", bench.base);
    inputs::write(&context.join("Dockerfile"), &dockerfile)?;
    inputs::small_files(&context.join("files"), bench.sizes.files, number)?;
    let output = bench.work.join("output");
    let [first, unchanged, changed, export] = names;
    for name in [first, unchanged, changed] {
        if name == changed {
            inputs::write(&context.join("files/0/file7.txt"), "changed\n")?;
        }
        bench.each(turn, &kept(&context, Cache::Use), |side, sample| {
            figures.add(name, target, side, sample)
        })?;
    }
    let build = Build {
        output: Output::Folder(&output),
        ..kept(&context, Cache::Use)
    };
    bench.each(turn, &build, |side, sample| {
        figures.add(export, target, side, sample);
    })?;
    inputs::remove(&context);
    Ok(())
}

/// What clients of a daemon wait for: its start, cached steps, and files
/// through the session.
fn daemon(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let turn = (Form::Daemon(Client::Own), round);
    for (side, engine) in bench.in_turn(turn.0, round) {
        if let Some(sample) = engine.start_again(&bench.work)? {
            figures.add("daemon: start", 0.5, side, sample);
        }
    }
    cached_steps(
        bench,
        turn,
        ("daemon: cached build of all steps", 0.5),
        figures,
    )?;
    let names = [
        "daemon: context of small files, first",
        "daemon: the same, unchanged",
        "daemon: the same, one file changed",
        "daemon: local export of small files",
    ];
    small_files(bench, turn, (names, 0.5), figures)
}

/// The same with the reference's client on both sides, whose own time counts
/// twice.
fn buildx(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let turn = (Form::Daemon(Client::Buildx), round);
    cached_steps(
        bench,
        turn,
        ("buildx: cached build of all steps", 1.0),
        figures,
    )?;
    let names = [
        "buildx: context of small files, first",
        "buildx: the same, unchanged",
        "buildx: the same, one file changed",
        "buildx: local export of small files",
    ];
    small_files(bench, turn, (names, 1.0), figures)
}

fn cached_steps(
    bench: &Bench,
    turn: (Form, usize),
    (name, target): (&'static str, f64),
    figures: &mut Figures,
) -> Result<(), String> {
    let long = bench.context("long");
    inputs::steps(&long, &bench.base, bench.sizes.steps)?;
    let build = kept(&long, Cache::Use);
    bench.each(turn, &build, |_, _| {})?;
    for _ in 0..3 {
        bench.each(turn, &build, |side, sample| {
            figures.add(name, target, side, sample);
        })?;
    }
    Ok(())
}

/// Many small builds on one daemon, each with a context of its own and every
/// fifth with a step that fails: what the daemon's memory comes to.
fn soak(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let Some([Engine::Daemon(daemon, _), _]) = &bench.daemons else {
        return Ok(());
    };
    if round > 0 {
        return Ok(());
    }
    let mut first = 0;
    for begin in (0..MANY_BUILDS).step_by(AT_ONCE) {
        let builds = (begin..begin + AT_ONCE).map(|number| start_small(bench, daemon, number));
        for (build, fails) in builds.collect::<Result<Vec<_>, String>>()? {
            let output = build
                .wait_with_output()
                .map_err(|error| error.to_string())?;
            if output.status.success() == fails {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        if begin < FIRST_BUILDS {
            first = resident(daemon.id());
        }
    }
    let mebibytes = |bytes: u64| bytes as f64 / 1048576.0;
    figures.note(format!(
        "Resident memory of `buildkitd`: {:.1} MiB after {FIRST_BUILDS} builds, {:.1} MiB after {MANY_BUILDS}, \
         {AT_ONCE} at once, every fifth of them failing.",
        mebibytes(first),
        mebibytes(resident(daemon.id())),
    ));
    Ok(())
}

/// Starts a small build, and says whether it is made to fail.
fn start_small(bench: &Bench, daemon: &Daemon, number: usize) -> Result<(Child, bool), String> {
    let (context, fails) = (bench.context(&format!("soak{number}")), number % 5 == 4);
    let step = if fails { "exit 1" } else { "cat /files/*" };
    let text = format!("FROM {}\nCOPY files /files\nRUN {step}\n", bench.base);
    inputs::write(&context.join("Dockerfile"), &text)?;
    inputs::write(&context.join("files/number"), &number.to_string())?;
    let mut command = daemon.command(Client::Own, &kept(&context, Cache::Use));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    Ok((child, fails))
}
