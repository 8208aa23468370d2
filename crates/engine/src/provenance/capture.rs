//! What is behind one result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_llb::pb::{self, MountType, NetMode, op};
use kiln_llb::{Vertex, redact};
use oci_spec::image::{Digest, Platform};
use serde::Serialize;

use super::images::{self, ImageSource};
use super::ledger::{FrontendRequest, Origin, Trace};
use crate::frontend::BuiltPlatform;
use crate::ops::EngineOp;
use crate::step_network::Seen;

/// Why nothing is known of the requests of a step that did not run in this build.
const NOT_RECORDED: &str = "result_from_cache";

/// What is behind one result: all that its build solved and looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Capture {
    pub(super) request: Option<Arc<FrontendRequest>>,
    /// What the whole build was asked for.
    pub(super) root: Option<Arc<FrontendRequest>>,
    pub(super) images: Vec<ImageSource>,
    pub(super) locals: BTreeSet<String>,
    /// Single blobs, by their package URLs.
    pub(super) blobs: BTreeMap<String, Digest>,
    /// Files of web servers, by their URLs without credentials.
    pub(super) files: BTreeMap<String, Digest>,
    /// Git repositories, by their URLs without credentials.
    pub(super) repositories: BTreeMap<String, String>,
    /// Ids of secrets, with whether the build would have gone on without.
    pub(super) secrets: BTreeMap<String, bool>,
    /// The same of SSH agents.
    pub(super) ssh: BTreeMap<String, bool>,
    /// Whether a step could reach a network.
    pub(super) network: bool,
    /// Whether steps had a proxy in place of it.
    pub(super) proxied: bool,
    /// What steps did there that says nothing certain about what they got.
    pub(super) uncertain: BTreeSet<Uncertain>,
    /// Whether something is behind the result that cannot be named.
    pub(super) incomplete: bool,
}

/// A request of a step whose answer is no material.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Uncertain {
    /// Digest of the step.
    op: String,
    /// Its command line.
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uri: String,
    /// In a word.
    pub(super) reason: &'static str,
}

/// What a source op took in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Material {
    /// An image.
    Image(Box<ImageSource>),
    /// A directory of the client.
    Local(String),
    /// A file of a web server.
    File {
        /// Where.
        url: String,
        /// Of its content.
        digest: Digest,
    },
    /// A single blob.
    Blob {
        /// Its package URL.
        url: String,
        /// What it is.
        digest: Digest,
    },
    /// A git repository.
    Repository(Box<RepositorySource>),
}

/// A revision of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepositorySource {
    /// Without credentials, with the reference asked for.
    pub(crate) url: String,
    /// The commit or the annotated tag.
    pub(crate) commit: String,
    /// The blob that it came from in place of the repository, by its package URL.
    pub(crate) bundle: Option<(String, Digest)>,
    /// Ids of secrets that may have opened it.
    pub(crate) secrets: Vec<String>,
    /// The agent that may have.
    pub(crate) ssh_agent: Option<String>,
}

/// A result whose capture is wanted, among all of its build.
struct Wanted<'a> {
    platform: &'a Platform,
    origin: &'a Origin,
    /// All results of the build, with their platforms.
    results: &'a [(&'a Platform, &'a Origin)],
}

/// What is behind each of a build's results.
pub(super) fn all(built: &[BuiltPlatform]) -> Vec<Capture> {
    let results = built.iter().map(|it| (&it.platform, &it.solution.origin));
    let results: Vec<(&Platform, &Origin)> = results.collect();
    let captures = results.iter().map(|(platform, origin)| {
        let wanted = Wanted {
            platform,
            origin,
            results: &results,
        };
        wanted.capture()
    });
    captures.collect()
}

impl Wanted<'_> {
    /// Collects what is behind the result. What other results of the build are made of is left out.
    fn capture(&self) -> Capture {
        let Origin { ledger, trace } = self.origin;
        let mut capture = Capture {
            request: ledger.request.clone(),
            root: ledger.root.clone(),
            ..Capture::default()
        };
        let is_result = |trace: &Arc<Trace>| {
            let results = self.results.iter();
            let mut traces = results.filter_map(|(_, origin)| origin.trace.as_ref());
            traces.any(|result| Arc::ptr_eq(result, trace))
        };
        let others = ledger.traces().into_iter();
        let others = others.filter(|other| !is_result(other));
        for trace in trace.iter().cloned().chain(others) {
            capture.add(&trace);
        }
        let mut looked_up = ledger.images();
        if self.results.len() > 1 {
            let all = self.results.iter().map(|(platform, _)| (*platform).clone());
            looked_up = images::for_platform(looked_up, &all.collect::<Vec<_>>(), self.platform);
        }
        for image in looked_up {
            images::add(&mut capture.images, image);
        }
        images::drop_pinned_twins(&mut capture.images);
        let name = |image: &ImageSource| image.reference.to_string();
        capture.images.sort_by_cached_key(name);
        capture
    }
}

impl Capture {
    /// Whether everything that went into the result is named.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete && self.locals.is_empty() && self.uncertain.is_empty()
    }

    fn add(&mut self, trace: &Trace) {
        for (vertex, op) in &trace.vertices {
            match &vertex.op.op {
                Some(op::Op::Source(_)) => self.add_source(op),
                Some(op::Op::Exec(exec)) => {
                    self.add_step(exec);
                    self.add_requests(vertex, exec, op.seen());
                }
                Some(op::Op::Build(_)) => self.incomplete = true,
                _ => {}
            }
        }
    }

    fn add_source(&mut self, op: &EngineOp) {
        match op.material() {
            Some(Material::Image(image)) => images::add(&mut self.images, *image),
            Some(Material::Local(name)) => {
                self.locals.insert(name);
            }
            Some(Material::File { url, digest }) => {
                self.files
                    .entry(redact::credentials(&url))
                    .or_insert(digest);
            }
            Some(Material::Blob { url, digest }) => {
                self.blobs.insert(url, digest);
            }
            Some(Material::Repository(source)) => self.add_repository(*source),
            // It never had to say what it stands for.
            None => {}
        }
    }

    fn add_repository(&mut self, source: RepositorySource) {
        for id in source.secrets {
            need(&mut self.secrets, id, true);
        }
        if let Some(id) = source.ssh_agent {
            need(&mut self.ssh, id, true);
        }
        self.blobs.extend(source.bundle);
        self.repositories.entry(source.url).or_insert(source.commit);
    }

    /// What a step fetched by its proxy.
    fn add_requests(&mut self, vertex: &Vertex, exec: &pb::ExecOp, seen: Seen) {
        let args = exec.meta.as_ref().map(|meta| meta.args.join(" "));
        let step = Uncertain {
            op: vertex.digest.to_string(),
            name: args.unwrap_or_default(),
            method: String::new(),
            uri: String::new(),
            reason: NOT_RECORDED,
        };
        self.proxied |= !matches!(seen, Seen::Nothing);
        let record = match seen {
            Seen::Nothing => return,
            Seen::Unrecorded => {
                self.uncertain.insert(step);
                return;
            }
            Seen::Everything(record) => record,
        };
        for material in &record.materials {
            if let Ok(digest) = material.digest.parse() {
                self.files.entry(material.url.clone()).or_insert(digest);
            }
        }
        let uncertain = record.incomplete.iter().map(|it| Uncertain {
            method: it.method.clone(),
            uri: it.url.clone(),
            reason: it.reason.as_str(),
            ..step.clone()
        });
        self.uncertain.extend(uncertain);
    }

    fn add_step(&mut self, exec: &pb::ExecOp) {
        let mount_type = |mount: &pb::Mount| MountType::try_from(mount.mount_type);
        for mount in &exec.mounts {
            match (mount_type(mount), &mount.secret_opt, &mount.ssh_opt) {
                (Ok(MountType::Secret), secret, _) => {
                    let secret = secret.clone().unwrap_or_default();
                    need(&mut self.secrets, secret.id, secret.optional);
                }
                (Ok(MountType::Ssh), _, ssh) => {
                    let ssh = ssh.clone().unwrap_or_default();
                    let id = if ssh.id.is_empty() {
                        "default".into()
                    } else {
                        ssh.id
                    };
                    need(&mut self.ssh, id, ssh.optional);
                }
                _ => {}
            }
        }
        for secret in &exec.secretenv {
            need(&mut self.secrets, secret.id.clone(), secret.optional);
        }
        self.network |= exec.network != NetMode::None as i32;
    }
}

/// Something is optional only if all that want it can do without.
fn need(lent: &mut BTreeMap<String, bool>, id: String, optional: bool) {
    let entry = lent.entry(id).or_insert(optional);
    *entry &= optional;
}
