//! Workloads of images: exported, pushed, pulled.

use super::{Bench, Form, kept};
use crate::bench::engine::{Build, Cache, Engine, Output};
use crate::bench::figures::{Figures, Side};
use crate::bench::inputs;
use crate::bench::measure::measure;

/// Layers of the image that is pulled.
const LAYERS: u64 = 10;

/// Compressions of exports, ours and the reference's, and what their figures
/// are called. Debian's build of the reference crashes when it writes eStargz
/// (it panics: its compressor's footers have another size than it expects), so
/// ours is held against the reference's gzip, which does less.
const COMPRESSIONS: [(&str, &str, &str); 3] = [
    ("gzip", "gzip", "gzip OCI export of real files"),
    (
        "estargz",
        "gzip",
        "estargz OCI export of real files (reference: gzip)",
    ),
    ("zstd", "zstd", "zstd OCI export of real files"),
];

/// Real files as OCI archives, each from a layer that has no blob yet, and as files.
pub(super) fn export(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let context = bench.context("real");
    if round == 0 {
        inputs::real_files(&context.join("files"), bench.sizes.bytes, 1)?;
        let dockerfile = format!("FROM {}\nCOPY files /files\n", bench.base);
        inputs::write(&context.join("Dockerfile"), &dockerfile)?;
    }
    let (turn, output) = ((Form::Embedded, round), bench.work.join("output"));
    let build = kept(&context, Cache::Use);
    for (own, reference, name) in COMPRESSIONS {
        // A blob that is there in another form would be exported as it is.
        inputs::write(&context.join("files/round"), &format!("{round} {own}"))?;
        bench.each(turn, &build, |_, _| {})?;
        for (side, engine) in bench.in_turn(turn.0, round) {
            let compression = match side {
                Side::Ours => own,
                Side::Reference => reference,
            };
            let archive = Build {
                output: Output::Archive(&output, compression),
                ..build
            };
            let sample = measure(engine, &archive, &bench.work.join("build.log"))?;
            figures.add(name, 1.0 / 3.0, side, sample);
            inputs::remove(&output);
        }
    }
    let folder = Build {
        output: Output::Folder(&output),
        ..build
    };
    bench.each(turn, &folder, |side, sample| {
        figures.add("local export of real files", 1.0, side, sample);
    })
}

/// Real files in a layer that has no blob yet, pushed; then the same image to
/// another repository.
pub(super) fn push(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let context = bench.context("pushed");
    if round == 0 {
        inputs::real_files(&context.join("files"), bench.sizes.bytes, 1)?;
        let dockerfile = format!("FROM {}\nCOPY files /files\n", bench.base);
        inputs::write(&context.join("Dockerfile"), &dockerfile)?;
    }
    let turn = (Form::Embedded, round);
    let names = [
        ("first", "push of real files"),
        ("second", "push to another repository"),
    ];
    for (side, engine) in bench.in_turn(turn.0, round) {
        // Each engine has a layer of its own: the registry would have the other's.
        let own = format!("{round} {}", engine.name());
        inputs::write(&context.join("files/round"), &own)?;
        let build = kept(&context, Cache::Use);
        let log = bench.work.join("build.log");
        measure(engine, &build, &log)?;
        for (repository, name) in names {
            let image = format!("{repository}-{}:{round}", engine.name());
            let image = bench.registry.name(&image);
            let build = Build {
                output: Output::Push(&image),
                ..build
            };
            figures.add(name, 0.5, side, measure(engine, &build, &log)?);
        }
    }
    Ok(())
}

/// An image of ten layers that nobody has seen before.
pub(super) fn pull(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let source = bench.context("layers");
    if round == 0 {
        inputs::real_files(&source, bench.sizes.bytes, LAYERS)?;
    }
    let mut dockerfile = String::from("FROM scratch\n");
    for part in (0..LAYERS).map(inputs::part_name) {
        inputs::write(
            &source.join(&part).join("round"),
            &format!("{round} {part}"),
        )?;
        dockerfile.push_str(&format!("COPY {part} /{part}\n"));
    }
    inputs::write(&source.join("Dockerfile"), &dockerfile)?;
    let name = bench.registry.name(&format!("layers:{round}"));
    bench
        .workshop
        .push(&source, &name, &bench.work.join("push.log"))?;
    let context = bench.context("pulling");
    // A step makes sure that the layers are unpacked.
    let dockerfile = format!(
        "FROM {name}\nCOPY --from={} /bin /bin\nRUN [\"/bin/true\"]\n",
        bench.base
    );
    inputs::write(&context.join("Dockerfile"), &dockerfile)?;
    bench.each(
        (Form::Embedded, round),
        &kept(&context, Cache::Use),
        |side, sample| {
            figures.add("pull and unpack of ten layers", 0.5, side, sample);
        },
    )
}

/// An image with a large layer that a Docker engine has, and a small one that
/// has changed.
pub(super) fn load(bench: &Bench, round: usize, figures: &mut Figures) -> Result<(), String> {
    let Some(Engine::Reference(reference)) = &bench.reference else {
        return Ok(());
    };
    let context = bench.context("loaded");
    if round == 0 {
        inputs::real_files(&context.join("files"), bench.sizes.bytes, 1)?;
        let dockerfile = format!(
            "FROM {}\nCOPY files /files\nCOPY small /small\n",
            bench.base
        );
        inputs::write(&context.join("Dockerfile"), &dockerfile)?;
    }
    let names = ["docker load, first", "docker load, one layer changed"];
    for (side, engine) in bench.in_turn(Form::Embedded, round) {
        let image = format!("{}:{round}", engine.name());
        let build = Build {
            output: Output::Load(&image, reference.socket()),
            ..kept(&context, Cache::Use)
        };
        for (change, name) in names.into_iter().enumerate() {
            inputs::write(&context.join("small"), &format!("{round} {change} {image}"))?;
            measure(
                engine,
                &kept(&context, Cache::Use),
                &bench.work.join("build.log"),
            )?;
            let sample = measure(engine, &build, &bench.work.join("build.log"))?;
            // The first one of the second round finds the large layer.
            if change > 0 || round == 0 {
                figures.add(name, if change > 0 { 0.2 } else { 1.0 }, side, sample);
            }
        }
    }
    Ok(())
}
