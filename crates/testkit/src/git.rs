//! Git repositories made on the spot, and git's own server for them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::http::Message;
use crate::run::checked;

/// When all commits are made.
pub const TIME: i64 = 1_445_412_480;

/// A repository with its files.
#[derive(Debug)]
pub struct Repository {
    directory: PathBuf,
}

impl Repository {
    /// Makes one, with the branch `main`. `options` are those of `git init`, such as `--object-format=sha256`.
    ///
    /// # Panics
    ///
    /// If git does not work.
    pub fn new(directory: impl Into<PathBuf>, options: &[&str]) -> Self {
        let repository = Self::at(directory);
        std::fs::create_dir_all(&repository.directory).expect("a directory");
        repository.git(&[&["init", "--quiet", "--initial-branch=main"], options].concat());
        repository
    }

    /// One that is there.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Runs git in it; what it says, without the end of the line.
    ///
    /// # Panics
    ///
    /// If git fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = git();
        command.current_dir(&self.directory).args(arguments);
        let output = checked(&mut command).expect("git");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Writes files and commits them with all else that has changed; the name of the commit.
    ///
    /// # Panics
    ///
    /// If the files cannot be written or git fails.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.directory.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

/// git without the settings of this machine, at a time that does not change.
fn git() -> Command {
    let time = format!("{TIME} +0000");
    let mut command = Command::new("git");
    command
        .env("HOME", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([
            ("GIT_AUTHOR_DATE", time.as_str()),
            ("GIT_COMMITTER_DATE", &time),
            ("GIT_AUTHOR_NAME", "A U Thor"),
            ("GIT_AUTHOR_EMAIL", "author@example.com"),
            ("GIT_COMMITTER_NAME", "A U Thor"),
            ("GIT_COMMITTER_EMAIL", "author@example.com"),
        ])
        .args(["-c", "protocol.file.allow=always"]);
    command
}

/// A request to git's server.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// Below the directory of repositories.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

/// What `git http-backend` answers (RFC 3875).
pub(crate) fn backend(root: &Path, call: &Call<'_>, request: &Message) -> io::Result<Message> {
    let header = |name| request.head.get(name).unwrap_or_default();
    let mut child = git()
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", call.method)
        .env("PATH_INFO", format!("/{}", call.path))
        .env("QUERY_STRING", call.query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let input = child.stdin.take();
    let body = request.body.clone();
    let writing = thread::spawn(move || input.map(|mut input| input.write_all(&body)));
    let output = child.wait_with_output()?.stdout;
    // A server that has heard enough is none of the client's concern.
    let _written = writing.join();
    let end = output.windows(4).position(|it| it == b"\r\n\r\n");
    let (head, body) = output.split_at(end.map_or(output.len(), |end| end + 4));
    let head = String::from_utf8_lossy(head);
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    let (mut status, mut rest) = (200, Vec::new());
    for (name, value) in headers {
        match name {
            "Status" => status = value.get(..3).and_then(|it| it.parse().ok()).unwrap_or(500),
            _ => rest.push((name, value.to_owned())),
        }
    }
    Ok(Message::answer(status, &rest, body.to_vec()))
}
