//! Compression throughput and ratio, against `gzip`, `pigz` and `zstd` on the same file in the same run.
//!
//!     cargo run --release -p kiln-exporter --example compression -- FILE [THREADS]
//!
//! Prints wall seconds, input MB per CPU second (which other load on the machine hardly changes) and the ratio of input
//! to output for each.

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
    println!(
        "{:<34} {:>8} {:>9} {:>7}",
        "", "seconds", "MB/CPU s", "ratio"
    );

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
            let watch = Watch::start()?;
            let mut writer = CompressedWriter::new(&pool, &compression, Counter(0));
            for chunk in data.chunks(32 << 10) {
                writer.write_all(chunk)?;
            }
            let length = writer.finish()?.0;
            watch.report(
                &format!("{} -{level}, {threads} threads", algorithm.name()),
                data.len(),
                length,
            )?;
        }
    }
    external("gzip", &["-6", "-c"], &path, data.len())?;
    external("pigz", &["-6", "-c", "-p", "2"], &path, data.len())?;
    external("zstd", &["-3", "-c", "-T2"], &path, data.len())
}

/// Runs another program over the file.
fn external(
    program: &str,
    arguments: &[&str],
    path: &str,
    input: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let watch = Watch::start()?;
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
    watch.report(&format!("{program} {}", arguments.join(" ")), input, length)
}

/// Wall and CPU time from a moment on.
struct Watch {
    begun: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> std::io::Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            cpu: cpu_seconds()?,
        })
    }

    fn report(
        self,
        what: &str,
        input: usize,
        output: usize,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = input as f64 / 1e6 / (cpu_seconds()? - self.cpu);
        println!(
            "{what:<34} {seconds:>8.2} {rate:>9.1} {:>7.3}",
            input as f64 / output as f64
        );
        Ok(())
    }
}

/// CPU time of this process and of its children that have ended, from the kernel's clock ticks of 10 ms.
fn cpu_seconds() -> std::io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks = fields
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
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
