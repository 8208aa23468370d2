//! Hashing files and directories of a tree, with several threads.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

use super::header::FileHash;
use super::{ChecksumError, RootHeader, Sum, text};
use crate::tree::{Dir, FileKind, Metadata, Name, Root, TreeError, file_xattrs, level};

const MAX_THREADS: usize = 8;
const BUFFER: usize = 256 << 10;

/// Sums by key: a path with NULs for slashes; a directory's header has one more NUL at its end. The root is empty.
pub(super) type Known = BTreeMap<Vec<u8>, Sum>;

/// The key of a clean absolute path.
pub(super) fn key(path: &[u8]) -> Vec<u8> {
    match path {
        b"/" => Vec::new(),
        path => path
            .iter()
            .map(|&byte| if byte == b'/' { 0 } else { byte })
            .collect(),
    }
}

/// What is hashed of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A file or link.
    File,
    /// The attributes of a directory.
    Header,
}

/// Something to hash.
struct Job {
    path: Vec<u8>,
    part: Part,
}

/// Hashes parts of a tree.
pub(super) struct Hasher<'a> {
    pub(super) root: &'a Root,
    pub(super) root_header: RootHeader,
}

/// Content sums of inodes with several names, since such names differ in nothing that is hashed.
type Inodes = Mutex<HashMap<(u64, u64), Sum>>;

impl Hasher<'_> {
    /// The sum of a file, or of a directory with all that is in it.
    pub(super) fn whole(
        &self,
        path: &[u8],
        metadata: &Metadata,
        known: &mut Known,
    ) -> Result<Sum, ChecksumError> {
        let key = key(path);
        if let Some(sum) = known.get(&key) {
            return Ok(*sum);
        }
        if !metadata.is_dir() {
            self.parts(vec![(path.to_vec(), Part::File)], known)?;
            return known.get(&key).copied().ok_or(ChecksumError::Cache);
        }
        let mut gather = Gather {
            known,
            jobs: Vec::new(),
        };
        let dir = self
            .root
            .open_dir(path)
            .map_err(|error| failed(path, error))?;
        let listing = gather.dir(&dir, path, 0)?;
        let jobs = gather.jobs;
        self.run(jobs, known)?;
        listing.sum(&key, known)
    }

    /// Hashes all parts that are not known yet.
    pub(super) fn parts(
        &self,
        parts: Vec<(Vec<u8>, Part)>,
        known: &mut Known,
    ) -> Result<(), ChecksumError> {
        let jobs = parts
            .into_iter()
            .map(|(path, part)| Job { path, part })
            .filter(|job| !known.contains_key(&job.key()))
            .collect();
        self.run(jobs, known)
    }

    fn run(&self, jobs: Vec<Job>, known: &mut Known) -> Result<(), ChecksumError> {
        let threads = std::thread::available_parallelism()
            .map_or(2, |count| count.get().clamp(2, MAX_THREADS));
        let inodes = Inodes::default();
        let next = AtomicUsize::new(0);
        let work = || self.work(&jobs, &next, &inodes);
        let results = if jobs.len() <= 1 {
            vec![work()]
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads.min(jobs.len()))
                    .map(|_| scope.spawn(work))
                    .collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined
                    .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        for result in results {
            known.extend(result?);
        }
        Ok(())
    }

    /// Takes jobs until there are none.
    fn work(
        &self,
        jobs: &[Job],
        next: &AtomicUsize,
        inodes: &Inodes,
    ) -> Result<Vec<(Vec<u8>, Sum)>, TreeError> {
        let mut sums = Vec::new();
        let mut worker = Worker {
            hasher: self,
            inodes,
            parent: None,
            buffer: vec![0; BUFFER],
        };
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            match worker.hash(job) {
                Ok(sum) => sums.push((job.key(), sum)),
                Err(error) => {
                    // The others need not go on either.
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(failed(&job.path, error));
                }
            }
        }
        Ok(sums)
    }

    fn root_dir(&self) -> io::Result<Sum> {
        if self.root_header == RootHeader::Ignored {
            return Ok(Sha256::digest(b"").into());
        }
        let dir = self.root.open_dir(b"/")?;
        Ok(FileHash::new(
            self.root_header,
            &dir.own_metadata()?,
            b"",
            &dir.xattrs(c".")?,
        )
        .finish())
    }
}

/// One of the threads that hash.
struct Worker<'a> {
    hasher: &'a Hasher<'a>,
    inodes: &'a Inodes,
    /// The last directory, since jobs come directory by directory.
    parent: Option<(Vec<u8>, Dir)>,
    buffer: Vec<u8>,
}

impl Worker<'_> {
    fn hash(&mut self, job: &Job) -> io::Result<Sum> {
        let slash = job.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let name = CString::new(&job.path[(slash + 1).min(job.path.len())..])?;
        if name.is_empty() {
            return self.hasher.root_dir();
        }
        let (parent, dir) = match self.parent.take() {
            Some(last) if last.0 == job.path[..slash] => last,
            _ => (
                job.path[..slash].to_vec(),
                self.hasher.root.open_dir(&job.path[..slash])?,
            ),
        };
        let sum = self.entry(&dir, &name, job.part);
        self.parent = Some((parent, dir));
        sum
    }

    fn entry(&mut self, dir: &Dir, name: &Name, part: Part) -> io::Result<Sum> {
        let metadata = dir.metadata(name)?;
        if part == Part::Header || metadata.kind != FileKind::File {
            let link = match metadata.kind {
                FileKind::Symlink => dir.read_link(name)?.into_bytes(),
                _ => Vec::new(),
            };
            let root_header = self.hasher.root_header;
            return Ok(FileHash::new(root_header, &metadata, &link, &dir.xattrs(name)?).finish());
        }
        let inodes = self.inodes;
        let linked = || inodes.lock().unwrap_or_else(PoisonError::into_inner);
        if !metadata.is_hard_linked() {
            return self.content(dir.open_file(name)?, &metadata);
        }
        if let Some(sum) = linked().get(&metadata.identity()) {
            return Ok(*sum);
        }
        let sum = self.content(dir.open_file(name)?, &metadata)?;
        linked().insert(metadata.identity(), sum);
        Ok(sum)
    }

    fn content(&mut self, mut file: File, metadata: &Metadata) -> io::Result<Sum> {
        let xattrs = file_xattrs(&file)?;
        let mut hash = FileHash::new(self.hasher.root_header, metadata, b"", &xattrs);
        let mut left = metadata.size;
        while left > 0 {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hash.update(&self.buffer[..read]);
                    left = left.saturating_sub(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(hash.finish())
    }
}

impl Job {
    fn key(&self) -> Vec<u8> {
        let mut key = key(&self.path);
        if self.part == Part::Header {
            key.push(0);
        }
        key
    }
}

/// What is in a directory, by name.
struct Listing(Vec<(Name, Option<Self>)>);

impl Listing {
    /// The sum of the directory, once all its parts are known.
    fn sum(&self, key: &[u8], known: &mut Known) -> Result<Sum, ChecksumError> {
        let header = [key, &[0]].concat();
        let mut hash = Sha256::new();
        hash.update([0]);
        hash.update(text(known.get(&header).ok_or(ChecksumError::Cache)?));
        for (name, listing) in &self.0 {
            let child = [&header, name.to_bytes()].concat();
            let sum = match listing {
                Some(listing) => level(|| listing.sum(&child, known))?,
                None => *known.get(&child).ok_or(ChecksumError::Cache)?,
            };
            hash.update([0]);
            hash.update(name.to_bytes());
            hash.update(text(&sum));
        }
        let sum = hash.finalize().into();
        known.insert(key.to_vec(), sum);
        Ok(sum)
    }
}

/// Finds what has to be hashed of a directory.
struct Gather<'a> {
    known: &'a Known,
    jobs: Vec<Job>,
}

impl Gather<'_> {
    fn dir(&mut self, dir: &Dir, path: &[u8], depth: usize) -> Result<Listing, ChecksumError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep(String::from_utf8_lossy(path).into_owned()).into());
        }
        self.add(path.to_vec(), Part::Header);
        let mut listing = Vec::new();
        let mut entries = dir.entries().map_err(|error| failed(path, error))?;
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, file_type) in entries {
            let child_path = join(path, name.to_bytes());
            let known = self.known.contains_key(&key(&child_path));
            let is_dir = !known
                && is_dir(dir, &name, file_type).map_err(|error| failed(&child_path, error))?;
            let inner = if is_dir {
                let child = dir
                    .open_dir(&name)
                    .map_err(|error| failed(&child_path, error))?;
                Some(level(|| self.dir(&child, &child_path, depth + 1))?)
            } else {
                if !known {
                    self.jobs.push(Job {
                        path: child_path,
                        part: Part::File,
                    });
                }
                None
            };
            listing.push((name, inner));
        }
        Ok(Listing(listing))
    }

    fn add(&mut self, path: Vec<u8>, part: Part) {
        let job = Job { path, part };
        if !self.known.contains_key(&job.key()) {
            self.jobs.push(job);
        }
    }
}

/// A level costs an open file.
pub(super) const MAX_DEPTH: usize = 1000;

/// Whether an entry is a directory, asking the file only if the listing did not tell.
pub(super) fn is_dir(dir: &Dir, name: &Name, file_type: FileType) -> io::Result<bool> {
    match file_type {
        FileType::Unknown => dir.metadata(name).map(|metadata| metadata.is_dir()),
        file_type => Ok(file_type == FileType::Directory),
    }
}

pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        b"/" => [b"/", name].concat(),
        path => [path, b"/", name].concat(),
    }
}

pub(super) fn failed(path: &[u8], source: io::Error) -> TreeError {
    TreeError::Os {
        op: "open",
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    }
}
