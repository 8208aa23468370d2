//! Root filesystems to run steps in and to make images from.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::run::checked;

const BUSYBOX: &str = "/bin/busybox";

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
builder:x:1000:1000:Builder:/home/builder:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";

const GROUP: &str = "\
root:x:0:
daemon:x:1:
wheel:x:10:root,builder
audio:x:29:builder
builder:x:1000:
nogroup:x:65534:
";

/// Makes a small root filesystem in `dir` from Debian's `busybox-static`: every applet in `/bin`, the
/// usual empty directories, and users `root`, `daemon`, `builder` (1000, in groups wheel and audio), `nobody`.
pub fn busybox(dir: impl AsRef<Path>) -> io::Result<()> {
    let dir = dir.as_ref();
    for name in [
        "bin",
        "dev",
        "etc",
        "home",
        "home/builder",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "usr",
        "usr/bin",
        "var",
    ] {
        fs::create_dir_all(dir.join(name))?;
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(dir.join("etc/passwd"), PASSWD)?;
    fs::write(dir.join("etc/group"), GROUP)?;

    fs::copy(BUSYBOX, dir.join("bin/busybox")).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot copy {BUSYBOX}: {error}; install busybox-static"),
        )
    })?;
    fs::set_permissions(dir.join("bin/busybox"), fs::Permissions::from_mode(0o755))?;
    let applets = checked(Command::new(BUSYBOX).arg("--list"))?.stdout;
    for applet in String::from_utf8_lossy(&applets)
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    Ok(())
}

/// A root filesystem with nothing but the given files, `(path, content)`, all with mode 0644.
pub fn files(dir: impl AsRef<Path>, files: &[(&str, &str)]) -> io::Result<()> {
    for (name, content) in files {
        let path = dir.as_ref().join(name.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// What a C compiler needs to make static programs of sources that include nothing.
const C_COMPILER: &str = r#"
set -e
programs="$(for name in gcc as ld make; do command -v $name; done)
    $(for name in cc1 collect2; do gcc -print-prog-name=$name; done)"
files=$(for name in crt1.o crti.o crtn.o crtbeginT.o crtend.o libc.a libgcc.a libgcc_eh.a liblto_plugin.so; do
    realpath "$(gcc -print-file-name=$name)"
done)
libraries=$(ldd $programs | grep -o '/[^ :]*lib[^ :]* ' | sort -u)
cp -L --parents -t "$1" $programs $files $libraries /usr/include/stdc-predef.h
"#;

/// Copies this machine's `gcc` and `make` to a root filesystem.
pub fn c_compiler(dir: impl AsRef<Path>) -> io::Result<()> {
    fs::create_dir_all(&dir)?;
    let mut copy = Command::new("sh");
    copy.args(["-c", C_COMPILER, "sh"]).arg(dir.as_ref());
    checked(&mut copy).map(drop)
}
