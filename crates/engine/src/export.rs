//! Sends a build's result to its exporters.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use futures::future::try_join_all;
use kiln_exporter::{
    BuildInfoPlace, Compression, EarlyUploads, ExportError, ExportInput, Exported, ImageOptions,
    OptionError, Output, Progress, ProgressEvent, Push, Target,
};
use kiln_session::Session;
use kiln_session::progress::ProgressSink;
use oci_spec::image::Descriptor;

use crate::engine::Engine;
use crate::error::{BuildError, Kind};
use crate::jobs::{Activity, Reporter};
use crate::lost::Need;
use crate::options::UnknownKeys;
use crate::registries::Access;
use crate::request::{Attributes, BuildOutcome, ExportRequest, ExportTarget};
use crate::step::Step;

/// An export whose keys have been checked.
pub(crate) struct Export {
    output: Output,
    target: Target,
    /// Keys that are not known, and are let pass.
    unknown: Vec<OptionError>,
}

impl Export {
    /// How an image's layers are compressed; `None` for outputs that are no
    /// image.
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.image().map(|options| options.compression)
    }

    /// What is wanted.
    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    /// The keys that all images have; `None` for outputs that are no image.
    fn image(&self) -> Option<&ImageOptions> {
        match &self.output {
            Output::Image(options) => Some(&options.image),
            Output::Archive(options) => Some(&options.image),
            Output::Local(_) | Output::Tar(_) => None,
        }
    }
}

/// What exports are sure to read of a result. Layers of an image that whoever gets it has are not read.
pub(crate) fn need(exports: &[Export]) -> Need {
    let needs = exports.iter().map(|export| match &export.output {
        Output::Local(_) | Output::Tar(_) => Need::Files,
        Output::Archive(_) => Need::Blobs,
        Output::Image(_) => Need::Nothing,
    });
    needs.max().unwrap_or(Need::Nothing)
}

/// The same exports for another attempt. `None` if one of them cannot be done twice; such ones [`need`] all that they
/// read beforehand.
pub(crate) fn again(exports: &[Export]) -> Option<Vec<Export>> {
    let again = exports.iter().map(|export| match &export.output {
        Output::Image(_) => Some(Export {
            output: export.output.clone(),
            target: Target::Store,
            unknown: export.unknown.clone(),
        }),
        Output::Archive(_) | Output::Local(_) | Output::Tar(_) => None,
    });
    again.collect()
}

/// Whether an export asks for what the result was made from.
pub(crate) fn want_build_info(exports: &[Export]) -> bool {
    let mut images = exports.iter().filter_map(Export::image);
    images.any(|options| options.build_info != BuildInfoPlace::None)
}

/// Checks the keys of all exports, before anything is built.
pub(crate) fn parse(
    requests: Vec<ExportRequest>,
    policy: UnknownKeys,
) -> Result<Vec<Export>, BuildError> {
    let invalid = |error| BuildError::wrap(Kind::Input, error);
    let exports = requests.into_iter().map(|request| {
        let output = Output::parse_known(&request.kind, &request.attributes);
        let (output, mut unknown) = output.map_err(invalid)?;
        if policy == UnknownKeys::Refuse && !unknown.is_empty() {
            return Err(invalid(unknown.swap_remove(0)));
        }
        let target = match request.target {
            ExportTarget::None => Target::Store,
            ExportTarget::Directory(path) => Target::Directory(path),
            ExportTarget::RemoteDirectory(client) => Target::RemoteDirectory(client),
            ExportTarget::RemoteContent(store) => Target::Client(store),
            ExportTarget::Stream(stream) => Target::Stream(stream),
            ExportTarget::Receiver(receiver) => Target::Receiver(receiver),
        };
        Ok(Export {
            output,
            target,
            unknown,
        })
    });
    exports.collect()
}

/// A push that is still to be done.
pub(crate) struct PendingPush {
    push: Push,
    step: Step,
}

/// Runs all exports side by side; the first one shows the warnings. Pushes are left to be done, because they
/// can go on beside cache exports.
pub(crate) async fn run(
    engine: &Engine,
    (session, progress): (&Session, &ProgressSink),
    input: &ExportInput,
    exports: Vec<Export>,
    warnings: &[String],
) -> Result<(BuildOutcome, Vec<PendingPush>), BuildError> {
    let exports = exports.into_iter().enumerate().map(|(index, export)| {
        let warnings = if index == 0 { warnings } else { &[] };
        run_one(engine, (session, progress), input, export, warnings)
    });
    let mut outcome = BuildOutcome::default();
    let mut pushes = Vec::new();
    for (index, (answer, push)) in try_join_all(exports).await?.into_iter().enumerate() {
        if let Some(descriptor) = descriptor(&answer) {
            outcome.descriptors.insert(index, descriptor);
        }
        outcome.response.extend(answer);
        pushes.extend(push);
    }
    Ok((outcome, pushes))
}

/// The image that an exporter made, as it tells the client.
fn descriptor(answer: &Attributes) -> Option<Descriptor> {
    let text = answer.get("containerimage.descriptor")?;
    let json = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    serde_json::from_slice(&json).ok()
}

async fn run_one(
    engine: &Engine,
    (session, progress): (&Session, &ProgressSink),
    input: &ExportInput,
    export: Export,
    warnings: &[String],
) -> Result<(Attributes, Option<PendingPush>), BuildError> {
    let step = Step::start(progress, export.output.title());
    for warning in warnings {
        step.reporter.warn(warning);
    }
    for error in &export.unknown {
        step.reporter.warn(&format!("{error}; it has no effect"));
    }
    let request = kiln_exporter::ExportRequest {
        early: early_uploads(engine, session, input, &export.output),
        output: export.output,
        target: export.target,
        progress: progress_of(step.reporter.clone()),
    };
    let exported = engine.exporter.export(input, request).await;
    match exported.map_err(export_error) {
        Ok(Exported {
            response,
            push: None,
        }) => {
            step.end(String::new());
            Ok((response, None))
        }
        Ok(Exported {
            response,
            push: Some(push),
        }) => Ok((response, Some(PendingPush { push, step }))),
        Err(error) => step.finish(Err(error)),
    }
}

/// The way for layers to be sent while they are made. If there is none, the push will say why.
fn early_uploads(
    engine: &Engine,
    session: &Session,
    input: &ExportInput,
    output: &Output,
) -> Option<EarlyUploads> {
    let Output::Image(options) = output else {
        return None;
    };
    let names = options.destinations(input.image_name.as_deref());
    if names.is_empty() {
        return None;
    }
    let access = Access::of(options.insecure);
    let client = engine.registry_client(&names, access).ok()?;
    let authority = kiln_source::session_authority(session);
    Some(EarlyUploads::new(client, authority))
}

impl PendingPush {
    pub(crate) async fn run(self, engine: &Engine, session: &Session) -> Result<(), BuildError> {
        let progress = progress_of(self.step.reporter.clone());
        let authority = kiln_source::session_authority(session);
        let access = Access::of(self.push.insecure());
        let pushed = async {
            let client = engine.registry_client(self.push.names(), access)?;
            self.push
                .run(&client, authority, &progress)
                .await
                .map_err(export_error)
        };
        let pushed = pushed.await;
        self.step.finish(pushed)
    }
}

/// Shows an exporter's progress inside its step.
pub(crate) fn progress_of(reporter: Reporter) -> Progress {
    let activities: Mutex<HashMap<String, (Activity, u64, u64)>> = Mutex::default();
    Progress::new(move |event| {
        let mut activities = activities.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Started { name } => {
                let activity = reporter.activity(name.clone());
                activities.insert(name, (activity, 0, 0));
            }
            ProgressEvent::Advanced {
                name,
                current,
                total,
            } => {
                if let Some((activity, done, all)) = activities.get_mut(&name) {
                    (*done, *all) = (current, total.unwrap_or(0));
                    activity.progress(*done, *all);
                }
            }
            ProgressEvent::Completed { name, .. } => {
                if let Some((activity, done, all)) = activities.remove(&name) {
                    activity.done(done, all);
                }
            }
            ProgressEvent::Warning { message } => reporter.warn(&message),
        }
    })
}

fn export_error(error: ExportError) -> BuildError {
    let kind = match &error {
        ExportError::Option(_)
        | ExportError::Config(_)
        | ExportError::Result(_)
        | ExportError::Target { .. } => Kind::Input,
        ExportError::Canceled => Kind::Cancelled,
        _ => Kind::Environment,
    };
    BuildError::wrap(kind, error)
}
