//! The outputs that make images.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::try_join_all;
use kiln_registry::Reference;
use kiln_session::{ImageReceiver, RemoteContent};
use kiln_store::refs::LayerInfo;

use crate::archive::{
    Archive, Part, Sink, deliver, put_in_index, send_blobs, write_directory, write_tarball,
};
use crate::attestation::{self, Chosen};
use crate::cancel::Cancelled;
use crate::containerd::{self, Delivery};
use crate::exporter::{blocking, unfit};
use crate::image::{self, Assembled, Assembly, json, names};
use crate::layers::{Absent, Wanted};
use crate::options::{
    ArchiveOptions, ArchiveVariant, ImageOptions, OptionError, StoredImageOptions,
};
use crate::progress::Progress;
use crate::push::{Early, EarlyUploads, Push, PushPlan};
use crate::{ExportError, ExportInput, Exported, Exporter, Shape, Target, stored};

/// When an image was made, on the descriptors of archives.
const CREATED: &str = "org.opencontainers.image.created";

impl Exporter {
    pub(crate) async fn export_image(
        &self,
        input: &ExportInput,
        options: StoredImageOptions,
        early: Option<EarlyUploads>,
        progress: &Progress,
    ) -> Result<Exported, ExportError> {
        let requested = names::requested(&options.image, input.image_name.as_deref());
        check_push(&options, &requested)?;
        let early = early.filter(|_| options.push);
        let early = match early {
            Some(early) => Some(Arc::new(early.begin(&names::normalized(&requested)?))),
            None => None,
        };
        let making = StoredImage {
            input,
            options,
            requested,
            early: early.clone(),
        };
        let exported = self.store_image(making, progress).await;
        if let (Err(_), Some(early)) = (&exported, early) {
            early.end().await;
        }
        exported
    }

    async fn store_image(
        &self,
        image: StoredImage<'_>,
        progress: &Progress,
    ) -> Result<Exported, ExportError> {
        let StoredImage {
            input,
            options,
            requested,
            early,
        } = image;
        let lease = self
            .store
            .lease()
            .map_err(|error| ExportError::Store(error.into()))?;
        let plan = ImagePlan {
            options: &options.image,
            inline_attestations: options.image.attestation_inline.unwrap_or(true),
            names: &names::normalized(&requested)?,
            absent: self.absent(&options),
            early: early.as_ref(),
        };
        let assembled = self.build_image(input, plan, progress).await?;
        let StoredNames { all, canonical } = store_names(&options, requested, &assembled);
        let references = names::normalized(&all)?;

        let mut response = respond(&assembled, input, &options.image)?;
        if !all.is_empty() {
            response.insert("image.name".into(), all.join(","));
        }
        if options.store {
            let naming = Naming {
                options: &options,
                names: &all,
                canonical,
                epoch: options.image.epoch.resolve(input.epoch),
            };
            self.keep_image(&assembled, naming, progress).await?;
        }
        let push = match options.push {
            true => {
                let layers = known_layers(input).await?;
                let plan = PushPlan {
                    image: assembled,
                    names: references,
                    layers,
                };
                Some(Push::new(self, plan, &options, early, lease))
            }
            false => None,
        };
        Ok(Exported { response, push })
    }

    /// What is only pushed may be in the registry already; containerd gets all of it.
    fn absent(&self, options: &StoredImageOptions) -> Absent {
        let is_delivered = options.store && self.images.is_some();
        match options.push && !is_delivered {
            true => Absent::Leave,
            false => Absent::Fetch,
        }
    }

    /// Gives an image its names: in containerd if that keeps images, else in the store.
    async fn keep_image(
        &self,
        image: &Assembled,
        naming: Naming<'_>,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let Naming { names, options, .. } = naming;
        if let Some(images) = &self.images {
            let delivery = Delivery {
                image,
                names: &naming.with_canonical(str::to_owned, &image.root.digest),
                unpack: options.unpack,
                epoch: naming.epoch,
            };
            let content = self.store.content();
            return containerd::deliver(images, content, delivery, progress).await;
        }
        let store = self.store.clone();
        let stored_as = naming.with_canonical(stored::name_of, &image.root.digest);
        let root = image.root.clone();
        let steps = names.iter();
        let steps = steps.map(|name| progress.start(format!("naming to {name}")));
        let steps = steps.collect::<Vec<_>>();
        let outcome = blocking(move || stored::put(&store, &stored_as, &root)).await;
        for step in steps {
            step.end(outcome.as_ref()).ok();
        }
        outcome
    }

    pub(crate) async fn export_archive(
        &self,
        input: &ExportInput,
        options: ArchiveOptions,
        target: Target,
        progress: &Progress,
    ) -> Result<Exported, ExportError> {
        let place = Place::of(&options, target)?;
        let requested = names::requested(&options.image, input.image_name.as_deref());
        let references = names::normalized(&requested)?;
        let _lease = self
            .store
            .lease()
            .map_err(|error| ExportError::Store(error.into()))?;
        let plan = ImagePlan {
            options: &options.image,
            inline_attestations: options.image.attestation_inline.unwrap_or(false),
            names: &references,
            absent: Absent::Fetch,
            early: None,
        };
        let mut assembled = self.build_image(input, plan, progress).await?;
        // The newest history entry instead of the clock: the same result gives the same archive.
        let epoch = options.image.epoch.resolve(input.epoch);
        let created = epoch
            .map(image::Time::from_seconds)
            .or(assembled.created.as_ref().map(image::Time::whole_seconds));
        if let Some(created) = created {
            assembled
                .root
                .annotations
                .entry(CREATED.into())
                .or_insert_with(|| created.to_string());
        }

        let mut response = respond(&assembled, input, &options.image)?;
        if !references.is_empty() {
            let list: Vec<_> = references.iter().map(ToString::to_string).collect();
            response.insert("image.name".into(), list.join(","));
        }
        let archive = Archive {
            image: assembled,
            names: references,
            variant: options.variant,
        };
        self.write_archive(archive, place, progress).await?;
        Ok(Exported {
            response,
            push: None,
        })
    }

    async fn write_archive(
        &self,
        archive: Archive,
        place: Place,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let content = self.store.content().clone();
        if let Place::Receiver(receiver) = place {
            return deliver(&content, archive, receiver, progress).await;
        }
        let step = progress.start(match &place {
            Place::Stream(_) | Place::Receiver(_) => "sending tarball",
            Place::Directory(_) | Place::Client(_) => "copying to layout directory",
        });
        if let Place::Client(client) = &place {
            let sent = send_blobs(&content, &archive.image, &**client, &step).await;
            return step.end(sent);
        }
        let (cancelled, _guard) = Cancelled::new();
        blocking(move || {
            let outcome = match place {
                Place::Stream(out) => {
                    let sink = Sink {
                        out,
                        cancelled: cancelled.clone(),
                        step: &step,
                    };
                    write_tarball(&content, &archive, &Part::Whole, sink)
                }
                Place::Directory(path) => {
                    write_directory(&content, &archive.image, &path, &cancelled, &step)
                        .and_then(|()| put_in_index(&path, &archive.image.root, &archive.names))
                }
                Place::Client(_) | Place::Receiver(_) => Ok(()),
            };
            step.end(outcome.map_err(|error| cancelled.explain(error)))
        })
        .await
    }

    /// Makes the layers, configs and manifests.
    pub(crate) async fn build_image(
        &self,
        input: &ExportInput,
        plan: ImagePlan<'_>,
        progress: &Progress,
    ) -> Result<Assembled, ExportError> {
        let ImagePlan { options, names, .. } = plan;
        let Chosen {
            shape,
            attestations,
        } = attestation::choose(input, plan.inline_attestations);
        image::check_annotations(input, options, shape)?;
        if !options.use_oci_types() && attestations.iter().any(|some| !some.is_empty()) {
            return Err(ExportError::Result(
                "cannot export attestations with \"oci-mediatypes=false\"".into(),
            ));
        }
        let epoch = options.epoch.resolve(input.epoch);
        if options.rewrite_timestamp && epoch.is_none() {
            progress.warn("rewrite-timestamp is specified, but no source-date-epoch was found");
        }
        let step = progress.start("exporting layers");
        let each = input.platforms.iter().map(async |result| {
            let (_, base) = image::configs(result, options)?;
            let wanted = Wanted {
                compression: options.compression,
                epoch: epoch.filter(|_| options.rewrite_timestamp),
                base: base
                    .map(|base| base.diff_ids().to_vec())
                    .unwrap_or_default(),
                absent: plan.absent,
                observer: plan.early.map(|early| early.clone() as _),
            };
            match &result.reference {
                None => Ok(Vec::new()),
                Some(reference) => self
                    .layers
                    .all(reference, &wanted)
                    .await
                    .map_err(ExportError::from),
            }
        });
        let layers = step.end(try_join_all(each).await)?;
        let each = attestations
            .into_iter()
            .map(|attestations| attestation::gather(&self.store, attestations));
        let said = try_join_all(each).await?;

        let (content, input, options, names, progress) = (
            self.store.content().clone(),
            input.clone(),
            options.clone(),
            names.to_vec(),
            progress.clone(),
        );
        blocking(move || {
            let assembly = Assembly {
                content: &content,
                input: &input,
                options: &options,
                shape,
                said: &said,
                names: &names,
                epoch,
                progress: &progress,
            };
            image::assemble(&assembly, &layers)
        })
        .await
    }
}

/// What of a result goes into an image.
#[derive(Clone, Copy)]
pub(crate) struct ImagePlan<'a> {
    options: &'a ImageOptions,
    /// Whether attestations that are for images only make an index.
    inline_attestations: bool,
    names: &'a [Reference],
    absent: Absent,
    early: Option<&'a Arc<Early>>,
}

/// A `type=image` to be made.
struct StoredImage<'a> {
    input: &'a ExportInput,
    options: StoredImageOptions,
    /// Names, as they were asked for.
    requested: Vec<String>,
    early: Option<Arc<Early>>,
}

/// Whether there is a name to push to, of the kind that is wanted.
fn check_push(options: &StoredImageOptions, names: &[String]) -> Result<(), OptionError> {
    if !options.push {
        return Ok(());
    }
    if names.is_empty() && options.dangling_prefix.is_none() {
        return Err(OptionError::Nameless);
    }
    let tagged = names.iter().find(|name| {
        Reference::parse(name).is_ok_and(|name| name.tag().is_some() || name.digest().is_some())
    });
    match tagged {
        Some(name) if options.push_by_digest => Err(OptionError::TaggedByDigest(name.clone())),
        _ => Ok(()),
    }
}

/// The layers of all platforms, by the digests of the blobs that they have.
async fn known_layers(input: &ExportInput) -> Result<BTreeMap<String, LayerInfo>, ExportError> {
    let references: Vec<_> = input
        .platforms
        .iter()
        .filter_map(|result| result.reference.clone())
        .collect();
    blocking(move || {
        let mut known = BTreeMap::new();
        for reference in references {
            let layers = reference.layers();
            for layer in layers.map_err(|error| ExportError::Store(error.into()))? {
                for blob in &layer.blobs {
                    known.insert(blob.digest().to_string(), layer.clone());
                }
            }
        }
        Ok(known)
    })
    .await
}

/// Where an archive is written.
enum Place {
    Stream(Box<dyn Write + Send>),
    Directory(PathBuf),
    Client(Arc<dyn RemoteContent>),
    Receiver(Arc<dyn ImageReceiver>),
}

impl Place {
    fn of(options: &ArchiveOptions, target: Target) -> Result<Self, ExportError> {
        match (options.tar, target) {
            (true, Target::Stream(out)) => Ok(Self::Stream(out)),
            (true, Target::Receiver(receiver)) => Ok(Self::Receiver(receiver)),
            (false, Target::Directory(path)) => Ok(Self::Directory(path)),
            (false, Target::Client(store)) => Ok(Self::Client(store)),
            (tar, target) => Err(unfit(
                match (options.variant, tar) {
                    (ArchiveVariant::Oci, true) => "oci",
                    (ArchiveVariant::Oci, false) => "oci,tar=false",
                    (ArchiveVariant::Docker, true) => "docker",
                    (ArchiveVariant::Docker, false) => "docker,tar=false",
                },
                &target,
            )),
        }
    }
}

/// How an image is to be known.
#[derive(Clone, Copy)]
struct Naming<'a> {
    options: &'a StoredImageOptions,
    names: &'a [String],
    /// Whether each gets a second form with the digest.
    canonical: bool,
    epoch: Option<i64>,
}

impl Naming<'_> {
    /// All names, each in the form that the keeper of images has them in.
    fn with_canonical(&self, form: impl Fn(&str) -> String, digest: &str) -> Vec<String> {
        let mut all: Vec<_> = self.names.iter().map(|name| form(name)).collect();
        if self.canonical {
            let plain = self.names.iter().filter(|name| !name.contains('@'));
            all.extend(plain.map(|name| format!("{}@{digest}", form(name))));
        }
        all
    }
}

/// The names of an image in the store.
struct StoredNames {
    all: Vec<String>,
    /// Whether each gets a second form with the digest.
    canonical: bool,
}

fn store_names(
    options: &StoredImageOptions,
    requested: Vec<String>,
    image: &Assembled,
) -> StoredNames {
    let mut all = requested;
    let mut canonical = options.name_canonical;
    if let Some(prefix) = &options.dangling_prefix
        && (all.is_empty() || !options.dangling_empty_only)
    {
        // A dangling name has the digest in it already.
        canonical &= !all.is_empty();
        all.push(format!("{prefix}@{}", image.root.digest));
    }
    StoredNames { all, canonical }
}

/// What the client is told of an image.
fn respond(
    image: &Assembled,
    input: &ExportInput,
    options: &ImageOptions,
) -> Result<BTreeMap<String, String>, ExportError> {
    let descriptor =
        json::compact(&image.root).map_err(|error| ExportError::Config(error.to_string()))?;
    let mut response = BTreeMap::from([
        (
            "containerimage.digest".to_owned(),
            image.root.digest.clone(),
        ),
        (
            "containerimage.descriptor".to_owned(),
            BASE64.encode(descriptor),
        ),
    ]);
    if let Some(config) = &image.config_digest {
        response.insert("containerimage.config.digest".into(), config.clone());
    }
    let results = input.platforms.iter();
    for result in results.filter(|_| options.build_info.in_answer()) {
        if let Some(info) = &result.build_info {
            let key = match input.shape {
                Shape::Single => "containerimage.buildinfo".into(),
                Shape::Index => format!(
                    "containerimage.buildinfo/{}",
                    kiln_llb::platform::format(&result.platform)
                ),
            };
            response.insert(key, BASE64.encode(&info.whole));
        }
    }
    Ok(response)
}
