//! The table, and docs/benchmarks.md.

use std::fmt::Write as _;

use super::figures::{Figure, Figures, Medians};
use super::machine::Machine;
use super::workloads::Sizes;

/// How much of the reference's memory we may take.
const MEMORY_TARGET: f64 = 0.5;

const HEAD: &str = "\
| workload | buildctl | reference | ratio | target | memory, buildctl | memory, reference | ratio |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// The table of all figures, in Markdown.
pub(super) fn table(figures: &Figures) -> String {
    let mut text = HEAD.to_owned();
    for figure in figures.iter() {
        let (ours, reference) = figure.medians();
        let pair = ours.zip(reference);
        let memory = pair.map(|(ours, reference)| ours.memory / reference.memory);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.2} | {} | {} | {} |",
            figure.name,
            show(ours, |it| seconds(it.seconds)),
            show(reference, |it| seconds(it.seconds)),
            show(figure.time_ratio(), |ratio| judged(ratio, figure.target)),
            figure.target,
            show(ours, |it| mebibytes(it.memory)),
            show(reference, |it| mebibytes(it.memory)),
            show(memory, |ratio| judged(ratio, MEMORY_TARGET)),
        );
    }
    for figure in figures.iter() {
        text.push_str(&sizes_of_archives(figure));
    }
    for note in figures.notes() {
        let _ = write!(text, "\n{note}\n");
    }
    text
}

fn sizes_of_archives(figure: &Figure) -> String {
    let (ours, reference) = figure.medians();
    let (Some(ours), reference) = (ours.and_then(|it: Medians| it.output), reference) else {
        return String::new();
    };
    let other = reference.and_then(|it| it.output);
    format!(
        "\nSize of the archive ({}): buildctl {}, reference {}.\n",
        figure.name,
        mebibytes(ours),
        show(other, mebibytes)
    )
}

/// A ratio, marked if it misses its target.
fn judged(ratio: f64, target: f64) -> String {
    let mark = if ratio > target { " (missed)" } else { "" };
    format!("{ratio:.2}{mark}")
}

fn show<T>(value: Option<T>, form: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".into(), form)
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.1} ms", value * 1000.0)
    } else {
        format!("{value:.2} s")
    }
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1048576.0)
}

/// All of docs/benchmarks.md.
pub(super) fn document(
    machine: &Machine,
    versions: &[String],
    sizes: &Sizes,
    rounds: usize,
    table: &str,
) -> String {
    let Machine {
        cores,
        processor,
        memory,
        kernel,
        date,
        load,
    } = machine;
    format!(
        "# Benchmarks

Written by `cargo xtask bench`. Every figure is the median of {rounds} rounds (a cached build: three in each round) in
which both engines make the same build in turn, and a ratio of times is the median of the rounds' ratios. A target is the share of the reference's time or memory that we allow
ourselves; memory's is {MEMORY_TARGET}.

{table}
- Machine: {cores} cores of {processor}, {memory} memory, Linux {kernel}; load average {load} before the first round.
- Date: {date}.
- Engines: {versions}.

## What is measured

- Time is that of the whole client process: `buildctl build` with the engine in it, `docker buildx build` with its
  daemon running. The daemon's own start is not counted.
- Figures of the daemon: ours is `buildctl build` with `buildkitd`. Its start is measured until it answers; the
  reference's start is that of all of dockerd. In the figures called buildx `docker buildx build` is the client on
  both sides, ours with `buildkitd` behind its remote driver: most of such a time is that client's own.
- Memory is resident memory at its peak, added up over all processes that take part: ours is `buildctl`, the
  reference's are the client, the daemon, containerd and its shims. Peaks are reset before every build.
- A RUN step: the time of {steps} steps (`echo`) without cache, less that of 2 steps, divided by the difference.
- Small files: {files} of up to 2 KiB. Real files: {megabytes} MB from this machine's /usr/lib and /usr/share.
- An export has one new layer that no blob has been made of; the build itself is cached. Debian's build of the reference crashes
  when it writes eStargz, so ours is held against the reference's gzip, which does less.
- A push has such a layer, too: its time is that of compressing and sending. The second push is to another repository
  of the same registry.
- An image goes into the reference's Docker engine: from ours with `dest=docker://`, from the reference as a stream into `docker load`.
- Caches are directories with the records of all steps (`mode=max`): of one stage of {steps} steps, and of ten such stages. Each step leaves a file.
  The build on an imported cache begins with nothing else.
- The pulled image has ten new layers with as many real files, in a registry on the loopback address.
- Data is written out (`sync`) before each build. Steps have the host's network on both sides.

## Running it again

```sh
cargo xtask setup    # docker-registry, runc and busybox, as root
cargo xtask bench    # as root; downloads the reference's Debian packages once, into target/reference
```

`--rounds N` measures more rounds, `--only steps|context|export|push|pull|load|caches|daemon|buildx|soak` one workload, `--quick` small inputs,
`--binary FILE` another `buildctl`. Without network access for the packages only ours is measured. The document is
written when all workloads have been measured against the reference.
",
        versions = versions.join("; "),
        steps = sizes.steps,
        files = sizes.files,
        megabytes = sizes.bytes / 1_000_000,
    )
}
