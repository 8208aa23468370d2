//! Trees as text: built from lines, and shown as the same lines, so that tests compare what people can read.
//!
//! `d path mode`, `f path mode content`, `l path target`, `h path first-name`, `c path mode major:minor`, `b` likewise,
//! `p path mode`, `s path mode`, `x path attribute value`. After a mode, `uid:gid` may stand; 0:0 otherwise.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

/// Builds a tree.
pub(crate) fn build(root: &Path, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        build_one(root, line);
    }
}

fn build_one(root: &Path, line: &str) {
    let mut words = line.split(' ');
    let kind = words.next().unwrap();
    let path = root.join(words.next().unwrap());
    let rest: Vec<&str> = words.collect();
    if !matches!(kind, "x" | "h") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    let device = |text: &str| {
        let (major, minor) = text.split_once(':').unwrap();
        rustix::fs::makedev(major.parse().unwrap(), minor.parse().unwrap())
    };
    let node = |file_type, device| {
        rustix::fs::mknodat(CWD, &path, file_type, Mode::empty(), device).unwrap();
    };
    match kind {
        "d" => fs::create_dir_all(&path).unwrap(),
        "f" => fs::write(&path, unescape(rest.last().unwrap())).unwrap(),
        "l" => symlink(rest[0], &path).unwrap(),
        "h" => fs::hard_link(root.join(rest[0]), &path).unwrap(),
        "c" => node(FileType::CharacterDevice, device(rest.last().unwrap())),
        "b" => node(FileType::BlockDevice, device(rest.last().unwrap())),
        "p" => node(FileType::Fifo, 0),
        "s" => node(FileType::Socket, 0),
        "x" => {
            let path = CString::new(path.to_str().unwrap()).unwrap();
            rustix::fs::lsetxattr(
                &path,
                rest[0],
                unescape(rest[1]).as_bytes(),
                XattrFlags::empty(),
            )
            .unwrap();
        }
        other => panic!("unknown kind {other}"),
    }
    if matches!(kind, "d" | "f" | "c" | "b" | "p" | "s") {
        if let Some((uid, gid)) = rest
            .get(1)
            .and_then(|owner| owner.split_once(':'))
            .filter(|_| kind != "c" && kind != "b")
        {
            lchown(&path, uid.parse().ok(), gid.parse().ok()).unwrap();
        }
        let mode = u32::from_str_radix(rest[0], 8).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Shows a tree, sorted by path. Overlay's own attributes are shown as well.
pub(crate) fn show(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut inodes = HashMap::new();
    show_dir(root, root, &mut inodes, &mut lines);
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn show_dir(root: &Path, dir: &Path, inodes: &mut HashMap<u64, String>, lines: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let shown = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let metadata = path.symlink_metadata().unwrap();
        let mode = format!("{:o}", metadata.mode() & 0o7777);
        let owner = match (metadata.uid(), metadata.gid()) {
            (0, 0) => String::new(),
            (uid, gid) => format!(" {uid}:{gid}"),
        };
        let file_type = metadata.file_type();
        if !file_type.is_dir() && metadata.nlink() > 1 {
            if let Some(first) = inodes.get(&metadata.ino()) {
                lines.push(format!("h {shown} {first}"));
                continue;
            }
            inodes.insert(metadata.ino(), shown.clone());
        }
        let rdev = || {
            format!(
                "{}:{}",
                rustix::fs::major(metadata.rdev()),
                rustix::fs::minor(metadata.rdev())
            )
        };
        lines.push(if file_type.is_dir() {
            format!("d {shown} {mode}{owner}")
        } else if file_type.is_symlink() {
            format!(
                "l {shown} {}{owner}",
                fs::read_link(&path).unwrap().display()
            )
        } else if file_type.is_char_device() {
            format!("c {shown} {mode}{owner} {}", rdev())
        } else if file_type.is_block_device() {
            format!("b {shown} {mode}{owner} {}", rdev())
        } else if file_type.is_fifo() {
            format!("p {shown} {mode}{owner}")
        } else if file_type.is_socket() {
            format!("s {shown} {mode}{owner}")
        } else {
            format!(
                "f {shown} {mode}{owner} {}",
                escape(&fs::read(&path).unwrap())
            )
        });
        show_xattrs(&path, &shown, lines);
        if file_type.is_dir() {
            show_dir(root, &path, inodes, lines);
        }
    }
}

fn show_xattrs(path: &Path, shown: &str, lines: &mut Vec<String>) {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let mut list = [0; 4096];
    let length = rustix::fs::llistxattr(&path, &mut list).unwrap();
    let mut keys: Vec<_> = list[..length]
        .split(|&byte| byte == 0)
        .filter(|key| !key.is_empty())
        .collect();
    keys.sort_unstable();
    for key in keys {
        let mut value = [0; 4096];
        let length = rustix::fs::lgetxattr(&path, key, &mut value).unwrap();
        lines.push(format!(
            "x {shown} {} {}",
            String::from_utf8_lossy(key),
            escape(&value[..length])
        ));
    }
}

/// The lines of a text in the form that [`show`] has.
pub(crate) fn lines(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n")
        .replace("\\s", " ")
        .replace("\\0", "\0")
        .replace("\\e", "")
}

fn escape(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes)
        .replace('\n', "\\n")
        .replace(' ', "\\s")
        .replace('\0', "\\0");
    if text.is_empty() {
        "\\e".to_owned()
    } else {
        text
    }
}
