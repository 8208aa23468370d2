//! Compression throughput and ratio, against `gzip` and `pigz` on the same file in the same run.
//!
//!     cargo run --release -p kiln-exporter --example compression -- FILE [THREADS]
//!
//! Prints seconds, input MB per second and the ratio of input to output for each.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use kiln_exporter::compression::{Algorithm, CompressedWriter, Compression, Pool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: compression FILE [THREADS]")?;
    let threads = args.next().map_or(Ok(2), |text| text.parse())?;
    let data = std::fs::read(&path)?;
    println!("{path}: {} MB", data.len() / 1_000_000);
    println!("{:<34} {:>8} {:>8} {:>7}", "", "seconds", "MB/s", "ratio");

    let levels = [
        (Algorithm::Gzip, 1),
        (Algorithm::Gzip, 6),
        (Algorithm::Gzip, 9),
        (Algorithm::Zstd, 3),
        (Algorithm::Zstd, 9),
    ];
    for (algorithm, level) in levels {
        for threads in [1, threads] {
            let compression = Compression {
                algorithm,
                level: Some(level),
                force: false,
            };
            let pool = Pool::new(threads, 64 << 20);
            let begun = Instant::now();
            let mut writer = CompressedWriter::new(&pool, &compression, Counter(0));
            for chunk in data.chunks(32 << 10) {
                writer.write_all(chunk)?;
            }
            let length = writer.finish()?.0;
            report(
                &format!("{} -{level}, {threads} threads", algorithm.name()),
                begun,
                data.len(),
                length,
            );
        }
    }
    for (program, arguments) in [
        ("gzip", vec!["-6", "-c"]),
        ("pigz", vec!["-6", "-c", "-p", "2"]),
        ("zstd", vec!["-3", "-c", "-T2"]),
    ] {
        external(program, &arguments, &path, data.len())?;
    }
    Ok(())
}

/// Runs another program over the file.
fn external(
    program: &str,
    arguments: &[&str],
    path: &str,
    input: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .arg(path)
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("{program}: not installed");
        return Ok(());
    };
    let mut length = 0;
    let mut buffer = vec![0; 1 << 20];
    if let Some(output) = &mut child.stdout {
        loop {
            match output.read(&mut buffer)? {
                0 => break,
                read => length += read,
            }
        }
    }
    child.wait()?;
    report(
        &format!("{program} {}", arguments.join(" ")),
        begun,
        input,
        length,
    );
    Ok(())
}

fn report(what: &str, begun: Instant, input: usize, output: usize) {
    let seconds = begun.elapsed().as_secs_f64();
    let ratio = input as f64 / output as f64;
    println!(
        "{what:<34} {seconds:>8.2} {:>8.1} {ratio:>7.3}",
        input as f64 / 1e6 / seconds
    );
}

/// Counts bytes.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0 += data.len();
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
