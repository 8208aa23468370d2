//! Workloads of caches: exported, and imported where there is nothing yet.

use std::path::Path;

use super::{Bench, Form, kept};
use crate::bench::engine::{Build, Cache, Engine, RemoteCache};
use crate::bench::figures::Figures;
use crate::bench::inputs;
use crate::bench::measure::{Sample, measure};

/// Stages of the builds; each has as many steps as the build of the first, and
/// the names of what is measured.
const BUILDS: [(usize, [&str; 3]); 2] = [
    (
        1,
        [
            "cache export, few steps",
            "cache export, nothing new",
            "build on an imported cache, few steps",
        ],
    ),
    (
        10,
        [
            "cache export, ten times as many steps",
            "cache export, ten times as many, nothing new",
            "build on an imported cache, ten times as many steps",
        ],
    ),
];

/// Exports of all steps of a build into a new directory and into the same one
/// again, then the build with nothing but that directory.
pub(super) fn caches(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    for (stages, names) in BUILDS {
        let context = bench.context(&format!("stages{stages}"));
        inputs::stages(&context, &bench.base, stages, bench.sizes.steps)?;
        for (side, engine) in bench.in_turn(Form::Embedded, round) {
            one(bench, engine, &context, |name, sample| {
                figures.add(names[name], 0.5, side, sample);
            })?;
        }
    }
    Ok(())
}

fn one(
    bench: &Bench,
    engine: &Engine,
    context: &Path,
    mut done: impl FnMut(usize, Sample),
) -> Result<(), String> {
    let (log, cache) = (bench.work.join("build.log"), bench.work.join("cache"));
    let plain = kept(context, Cache::Use);
    measure(engine, &plain, &log)?;
    let export = Build {
        remote: RemoteCache::Export(&cache),
        ..plain
    };
    let import = Build {
        remote: RemoteCache::Import(&cache),
        ..plain
    };
    done(0, measure(engine, &export, &log)?);
    done(1, measure(engine, &export, &log)?);
    engine.forget(&bench.work.join("prune.log"))?;
    done(2, measure(engine, &import, &log)?);
    inputs::remove(&cache);
    Ok(())
}
