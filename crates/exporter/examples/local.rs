//! Time of local exports: the first into an empty directory, one where nothing has changed, and one after a change.
//!
//!     cargo run --release -p kiln-exporter --example local -- DIR [FILES] [BYTES]
//!
//! Makes a result of FILES files of BYTES bytes each in DIR and exports it, against `cp -a` in the same run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_exporter::{
    ExportInput, ExportRequest, Exporter, LocalOptions, Output, PlatformResult, Progress, Settings,
    Shape, Target,
};
use kiln_store::{MutableOptions, Store, StoreOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: local DIR [FILES] [BYTES]")?);
    let files: usize = args.next().map_or(Ok(20_000), |text| text.parse())?;
    let bytes: usize = args.next().map_or(Ok(2_000), |text| text.parse())?;

    let store = Store::open(StoreOptions {
        root: dir.join("store"),
    })?;
    let mutable = store.mutable(None, MutableOptions::default())?;
    for number in 0..files {
        let folder = mutable
            .upper_dir()
            .join(format!("{}/{}", number % 23, number % 1009));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(
            folder.join(format!("file-{number}")),
            vec![number as u8; bytes],
        )?;
    }
    let source = mutable.upper_dir().to_owned();
    let copied = timed("cp -a", || async {
        let copy = dir.join("copy");
        std::process::Command::new("cp")
            .arg("-a")
            .arg(&source)
            .arg(copy)
            .status()?;
        Ok(())
    });
    copied.await?;
    let reference = mutable.commit()?;
    let input = ExportInput {
        platforms: vec![PlatformResult {
            platform: kiln_llb::platform::host(),
            reference: Some(reference),
            image_config: None,
            base_config: None,
            inline_cache: None,
            build_info: None,
            attestations: Vec::new(),
        }],
        shape: Shape::Single,
        image_name: None,
        epoch: None,
    };
    let exporter = Exporter::new(store, Settings::default());
    let dest = dir.join("dest");
    for what in ["first", "unchanged", "unchanged again"] {
        timed(what, || export(&exporter, &input, &dest)).await?;
    }
    std::fs::write(dest.join("0/0/file-0"), "changed")?;
    timed("one changed", || export(&exporter, &input, &dest)).await
}

async fn export(
    exporter: &Exporter,
    input: &ExportInput,
    dest: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let request = ExportRequest {
        output: Output::Local(LocalOptions::default()),
        target: Target::Directory(dest.to_owned()),
        progress: Progress::none(),
        early: None,
    };
    exporter.export(input, request).await?;
    Ok(())
}

async fn timed<F>(what: &str, work: impl FnOnce() -> F) -> Result<(), Box<dyn std::error::Error>>
where
    F: Future<Output = Result<(), Box<dyn std::error::Error>>>,
{
    let begun = Instant::now();
    work().await?;
    println!("{what:<20} {:>8.3} s", begun.elapsed().as_secs_f64());
    Ok(())
}
