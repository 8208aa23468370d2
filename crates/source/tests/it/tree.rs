//! Trees described as text, one line for each file.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use kiln_store::Ref;

/// `path kind mode uid:gid mtime [content or target]`, in walk order.
pub(crate) fn describe(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines
}

/// The tree of a snapshot.
pub(crate) fn of(snapshot: &Ref) -> std::path::PathBuf {
    snapshot
        .local_dir()
        .expect("directory")
        .expect("a snapshot of a directory is one directory")
}

/// The paths of a snapshot.
pub(crate) fn paths(snapshot: &Ref) -> Vec<String> {
    describe(&of(snapshot))
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

fn walk(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let meta = fs::symlink_metadata(&path).expect("stat");
        let kind = meta.file_type();
        let name = path.strip_prefix(root).expect("inside").display();
        let (letter, rest) = match () {
            () if kind.is_dir() => ("d", String::new()),
            () if kind.is_symlink() => (
                "l",
                fs::read_link(&path).expect("link").display().to_string(),
            ),
            () if kind.is_file() => (
                "f",
                String::from_utf8_lossy(&fs::read(&path).expect("read")).into_owned(),
            ),
            () if kind.is_fifo() => ("p", String::new()),
            () if kind.is_char_device() => ("c", meta.rdev().to_string()),
            () if kind.is_socket() => ("s", String::new()),
            () => ("?", String::new()),
        };
        let mode = meta.mode() & 0o7777;
        let (uid, gid, seconds, nanos) = (meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        lines.push(format!(
            "{name} {letter} {mode:o} {uid}:{gid} {seconds}.{nanos} {rest}"
        ));
        if kind.is_dir() {
            walk(root, &path, lines);
        }
    }
}
