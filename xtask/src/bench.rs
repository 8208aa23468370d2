//! `cargo xtask bench`: measurements against the reference engine.

mod daemon;
mod docker;
mod engine;
mod figures;
mod inputs;
mod machine;
mod measure;
mod process;
mod reference;
mod registry;
mod report;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::run::{self, built, top};
use daemon::Daemon;
use engine::{Client, Engine, Ours, Place};
use figures::Figures;
use machine::Machine;
use process::WorkFolder;
use reference::Reference;
use registry::Registry;
use workloads::{Bench, Sizes, WORKLOADS};

const USAGE: &str =
    "usage: cargo xtask bench [--rounds N] [--only WORKLOAD] [--quick] [--binary FILE]";
const FULL: Sizes = Sizes {
    steps: 30,
    files: 20_000,
    bytes: 500_000_000,
};
const QUICK: Sizes = Sizes {
    steps: 6,
    files: 500,
    bytes: 20_000_000,
};
/// More runnable processes than this make numbers worthless.
const QUIET: f64 = 1.0;

/// What the command line asks for.
struct Request {
    rounds: usize,
    only: Option<String>,
    is_quick: bool,
    binary: Option<PathBuf>,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let request = request(arguments)?;
    let binary = match &request.binary {
        Some(binary) => fs::canonicalize(binary).map_err(|error| run::at(binary, &error))?,
        None => {
            run::run("cargo build --quiet --release --package kiln-cli --package kiln-daemon")?;
            built("release", "buildctl")?
        }
    };
    let (bench, mut versions) = prepare(binary, if request.is_quick { QUICK } else { FULL })?;
    if request.binary.is_none() {
        let commit = run::output("git rev-parse --short HEAD").unwrap_or_default();
        versions[0] = format!("{} at commit {}", versions[0], commit.trim());
    }
    let machine = Machine::look();
    if machine.load > QUIET {
        eprintln!(
            "the machine is busy (load average {}): do not trust the numbers",
            machine.load
        );
    }
    let figures = measure(&bench, &request)?;
    let table = report::table(&figures);
    println!("\n{table}");
    let is_whole = bench.reference.is_some() && request.only.is_none() && !request.is_quick;
    if is_whole {
        let text = report::document(&machine, &versions, &bench.sizes, request.rounds, &table);
        let path = top().join("docs/benchmarks.md");
        fs::write(&path, text).map_err(|error| run::at(&path, &error))?;
        println!("written to {}", path.display());
    }
    Ok(())
}

fn request(arguments: &[String]) -> Result<Request, String> {
    let mut request = Request {
        rounds: 3,
        only: None,
        is_quick: false,
        binary: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(format!("{argument} needs a value; {USAGE}"))
        };
        match argument.as_str() {
            "--rounds" => {
                let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                request.rounds = rounds.ok_or("--rounds needs a number above 0")?;
            }
            "--only" => request.only = Some(workload_name(value()?)?),
            "--binary" => request.binary = Some(value()?.into()),
            "--quick" => request.is_quick = true,
            _ => return Err(format!("unknown argument {argument:?}; {USAGE}")),
        }
    }
    Ok(request)
}

fn workload_name(name: &str) -> Result<String, String> {
    let names = WORKLOADS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    if names.contains(&name) {
        return Ok(name.into());
    }
    Err(format!(
        "there is no workload {name:?}, only {}",
        names.join(", ")
    ))
}

/// Starts everything; also gives the versions of the engines.
fn prepare(binary: PathBuf, sizes: Sizes) -> Result<(Bench, Vec<String>), String> {
    let mut versions = vec![format!("ours {}", version(&binary)?)];
    let work = WorkFolder::new()?;
    let registry = Registry::start(&work)?;
    let workshop = Ours {
        binary: binary.clone(),
        engine: Place::Root(work.join("workshop")),
    };
    let base = registry.name("base:1");
    inputs::base(&work.join("base"))?;
    workshop.push(&work.join("base"), &base, &work.join("push.log"))?;
    let embedded = Engine::Ours(Ours {
        binary: binary.clone(),
        engine: Place::Root(work.join("root")),
    });
    let (reference, daemons) = match Reference::start(&work) {
        Ok(reference) => {
            versions.push(reference.version());
            let daemon = Rc::new(Daemon::start(&binary, reference.tools(), &work)?);
            let daemons =
                [Client::Own, Client::Buildx].map(|client| Engine::Daemon(daemon.clone(), client));
            let reference = Engine::Reference(Box::new(reference));
            (Some(reference), Some(daemons))
        }
        Err(error) => {
            eprintln!(
                "the reference engine (docker.io) cannot be set up, only buildctl is measured: {error}"
            );
            (None, None)
        }
    };
    let bench = Bench {
        embedded,
        daemons,
        reference,
        sizes,
        registry,
        workshop,
        base,
        work,
    };
    Ok((bench, versions))
}

fn version(binary: &Path) -> Result<String, String> {
    let version = run::output(&format!("{} --version", binary.display()))?;
    Ok(version.trim().to_owned())
}

fn measure(bench: &Bench, request: &Request) -> Result<Figures, String> {
    let mut figures = Figures::default();
    for (name, workload) in WORKLOADS {
        if request.only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        for round in 0..request.rounds {
            println!(
                "{name}, round {} (load average {})",
                round + 1,
                machine::load()
            );
            workload(bench, round, &mut figures).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(figures)
}
