//! Contexts: made of real files and of small generated ones.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::run::at;

/// Folders of this machine that real files are taken from.
const SOURCES: &[&str] = &["/usr/lib", "/usr/share"];
/// Programs that busybox stands for in the base image.
const APPLETS: &[&str] = &["sh", "true", "echo", "cat"];

/// Writes a file, with its folders.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    }
    fs::write(path, text).map_err(|error| at(path, &error))
}

/// The context of the base image: a shell and nothing else.
pub(super) fn base(context: &Path) -> Result<(), String> {
    write(
        &context.join("Dockerfile"),
        "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n",
    )?;
    let bin = context.join("bin");
    fs::create_dir_all(&bin).map_err(|error| at(&bin, &error))?;
    fs::copy("/bin/busybox", bin.join("busybox"))
        .map_err(|error| format!("/bin/busybox: {error} (`cargo xtask setup` installs it)"))?;
    for applet in APPLETS {
        let link = bin.join(applet);
        symlink("busybox", &link).map_err(|error| at(&link, &error))?;
    }
    Ok(())
}

/// A Dockerfile with so many steps that do next to nothing.
pub(super) fn steps(context: &Path, base: &str, count: usize) -> Result<(), String> {
    let mut text = format!("FROM {base}\n");
    for step in 0..count {
        let _ = writeln!(text, "RUN echo {step}");
    }
    write(&context.join("Dockerfile"), &text)
}

/// A Dockerfile of so many stages with so many steps, each of which leaves a
/// file, and a last stage that takes one of each.
pub(super) fn stages(
    context: &Path,
    base: &str,
    stages: usize,
    steps: usize,
) -> Result<(), String> {
    let mut text = String::new();
    for stage in 0..stages {
        let _ = writeln!(text, "FROM {base} AS stage{stage}");
        for step in 0..steps {
            let _ = writeln!(text, "RUN echo {stage} {step} > /step{step}");
        }
    }
    text.push_str("FROM scratch\n");
    for stage in 0..stages {
        let _ = writeln!(text, "COPY --from=stage{stage} /step{} /{stage}", steps - 1);
    }
    write(&context.join("Dockerfile"), &text)
}

/// Small files with contents that no other call makes, a hundred in a folder.
pub(super) fn small_files(folder: &Path, count: usize, seed: usize) -> Result<(), String> {
    for file in 0..count {
        let path = folder.join(format!("{}/file{file}.txt", file / 100));
        write(&path, &small_text(seed, file))?;
    }
    Ok(())
}

fn small_text(seed: usize, file: usize) -> String {
    let mut text = format!("file {file} of context {seed}\n");
    for line in 0..file % 60 {
        let _ = writeln!(text, "line {line} of file {file}");
    }
    text
}

/// Real files of this machine, this many bytes from each source, in `parts`
/// folders of about equal size.
pub(super) fn real_files(folder: &Path, bytes: u64, parts: u64) -> Result<(), String> {
    let each = bytes / SOURCES.len() as u64;
    let mut copier = Copier {
        folder,
        part_size: (bytes / parts).max(1),
        parts,
        copied: 0,
        limit: 0,
    };
    for source in SOURCES {
        copier.limit += each;
        copier.copy(Path::new(source))?;
    }
    Ok(())
}

struct Copier<'a> {
    folder: &'a Path,
    part_size: u64,
    parts: u64,
    copied: u64,
    limit: u64,
}

impl Copier<'_> {
    /// Copies regular files below a folder until the limit is reached.
    fn copy(&mut self, source: &Path) -> Result<(), String> {
        // What cannot be listed or read is left out: any files will do.
        let Ok(entries) = fs::read_dir(source) else {
            return Ok(());
        };
        let mut paths = entries
            .filter_map(|it| Some(it.ok()?.path()))
            .collect::<Vec<_>>();
        paths.sort();
        for path in paths {
            if self.copied >= self.limit {
                break;
            }
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => self.copy(&path)?,
                Ok(found) if found.is_file() => self.copy_file(&path)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn copy_file(&mut self, path: &Path) -> Result<(), String> {
        let part = (self.copied / self.part_size).min(self.parts - 1);
        let inner = path.strip_prefix("/").unwrap_or(path);
        let target = self.folder.join(part_name(part)).join(inner);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        }
        self.copied += fs::copy(path, &target).unwrap_or(0);
        Ok(())
    }
}

/// The name of one of the parts of [`real_files`].
pub(super) fn part_name(part: u64) -> String {
    format!("part{part}")
}

/// Removes what a build has written, if it is there.
pub(super) fn remove(path: &Path) {
    if path.is_dir() {
        let _ = fs::remove_dir_all(path);
    } else {
        let _ = fs::remove_file(path);
    }
}
