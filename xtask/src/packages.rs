//! Gets packages from the newest Debian, without touching the system: a
//! private apt configuration, and the packages are only unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{at, has, run_quietly, top};

const SUITE: &str = "sid";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks packages below `target/NAME` and gives the folder with their
/// files; they are kept for the next time.
pub(crate) fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = top().join("target").join(name);
    let tools = folder.join("tools");
    let (mark, wanted) = (tools.join("complete"), packages.join("\n"));
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Ok(tools);
    }
    for program in ["apt-get", "dpkg"] {
        if !has(program) {
            return Err(format!("{program} is missing: the packages are Debian's"));
        }
    }
    let options = private_apt(&folder)?;
    let log = folder.join("apt.log");
    apt(&folder, &options, &["update"], &log)?;
    let download = [&["download"], packages].concat();
    apt(&folder, &options, &download, &log)?;
    for package in packages_in(&folder)? {
        run_quietly(
            Command::new("dpkg").arg("-x").arg(package).arg(&tools),
            &log,
        )?;
    }
    fs::write(&mark, wanted).map_err(|error| at(&mark, &error))?;
    Ok(tools)
}

/// Options that keep apt inside a folder.
fn private_apt(folder: &Path) -> Result<Vec<String>, String> {
    for name in ["apt/lists/partial", "apt/cache/archives/partial"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(|error| at(&path, &error))?;
    }
    let apt = folder.join("apt");
    let sources = format!(
        "Types: deb\nURIs: {}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n",
        mirror()?
    );
    for (name, text) in [("newest.sources", sources.as_str()), ("status", "")] {
        let path = apt.join(name);
        fs::write(&path, text).map_err(|error| at(&path, &error))?;
    }
    let apt = apt.display();
    Ok([
        format!("Dir::Etc::SourceList={apt}/newest.sources"),
        "Dir::Etc::SourceParts=/dev/null".into(),
        format!("Dir::State::Lists={apt}/lists"),
        format!("Dir::State::Status={apt}/status"),
        format!("Dir::Cache={apt}/cache"),
        "Acquire::Languages=none".into(),
        "APT::Sandbox::User=root".into(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect())
}

fn apt(folder: &Path, options: &[String], arguments: &[&str], log: &Path) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    run_quietly(
        command.current_dir(folder).args(options).args(arguments),
        log,
    )
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths
        .filter(|path| path.extension().is_some_and(|it| it == "deb"))
        .collect())
}

/// The mirror that this machine's own sources name for Debian's main archive.
fn mirror() -> Result<String, String> {
    let folder = Path::new("/etc/apt/sources.list.d");
    let entries = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
    let mut files = entries
        .filter_map(|it| Some(it.ok()?.path()))
        .collect::<Vec<_>>();
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let found = texts.flat_map(|text| mirrors_in(&text)).next();
    found.ok_or_else(|| "this machine's apt sources name no Debian mirror".into())
}

/// Both forms of sources (`deb [options] URI …` and `URIs: URI …`).
fn mirrors_in(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let words = lines
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'));
    words
        .filter(|word| word.contains("://") && word.ends_with("/debian"))
        .map(Into::into)
        .collect()
}
