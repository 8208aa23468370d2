//! The built-in Dockerfile frontend: what it asks for is done by the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_dockerfile::ResolvedConfig;
use kiln_dockerfile::known::{ImageQuestion, OciLayoutQuestion};
use kiln_frontend::syntax::{Asker, Wanted};
use kiln_frontend::{Build, Door, Notice, Outcome, Place, Request, SourceMeta};
use kiln_llb::{Definition, pb, platform};
use kiln_session::progress::{Update, Warning};
use kiln_source::{ImageIdentifier, LayoutIdentifier, ResolvedImage};

use super::result::{FrontendResult, ResultBuilder};
use super::{Call, run_nested};
use crate::bridge::Bridge;
use crate::error::{BuildError, Location};
use crate::lost::{Losses, Need};
use crate::ops::Output;
use crate::ops::source::source_error;
use crate::remote_sources::{ObjectsWanted, Remote};
use crate::request::{Attributes, CacheEntry, Frontend};

pub(super) async fn run(
    bridge: &Arc<Bridge>,
    attributes: &Attributes,
    inputs: BTreeMap<String, Definition>,
) -> Result<FrontendResult, BuildError> {
    let request = Request {
        attributes: attributes.clone(),
        inputs,
        session: bridge.session.id.as_str().to_owned(),
        ..Request::default()
    };
    match kiln_frontend::run(bridge.as_ref(), &request).await? {
        Outcome::Answer(metadata) => Ok(FrontendResult::answer(metadata)),
        Outcome::Build(lowered) => build(bridge, lowered).await,
        Outcome::Forward { wanted, file } => {
            let call = Call {
                frontend: Frontend::Gateway,
                options: wanted.options(attributes),
                inputs: request.inputs,
            };
            let result = run_nested(bridge, call).await;
            result.map_err(|error| explain(error, &wanted, file))
        }
    }
}

/// An error of the other frontend, with what asked for it where the error
/// itself speaks of no place.
fn explain(mut error: BuildError, wanted: &Wanted, file: pb::SourceInfo) -> BuildError {
    if !error.locations.is_empty() {
        return error;
    }
    match wanted.asker(file) {
        Asker::Argument(context) => error.context(context),
        Asker::Line(place) => {
            error.locations = vec![location(&place)];
            error
        }
    }
}

/// What it comes to is computed when it is needed.
async fn build(bridge: &Arc<Bridge>, build: Build) -> Result<FrontendResult, BuildError> {
    let imports = build.cache_imports.into_iter().map(CacheEntry::from);
    let caches = bridge.import(&imports.collect::<Vec<_>>()).await?;
    let mut result = ResultBuilder::new(bridge.clone(), build.multi_platform);
    for target in build.targets {
        result.add(target, &caches);
    }
    Ok(result.finish())
}

#[async_trait]
impl Door for Bridge {
    type Ref = Output;
    type Error = BuildError;

    async fn image_config(&self, question: &ImageQuestion) -> Result<ResolvedConfig, BuildError> {
        let attributes = [(
            "image.resolvemode".to_owned(),
            question.resolve_mode.as_str().to_owned(),
        )];
        let attributes = attributes.into_iter().collect();
        let image = ("docker-image", question.reference.as_str());
        let platform = Some(platform::to_pb(&question.platform));
        let (name, attributes) = self.govern_image(image, attributes, platform).await?;
        let identifier = ImageIdentifier::parse(&name, &attributes, question.platform.clone());
        let identifier = identifier.map_err(source_error)?;
        let resolved = Bridge::image_config(self, &identifier, &question.log_name).await;
        config(resolved, &question.reference)
    }

    async fn layout_config(
        &self,
        question: &OciLayoutQuestion,
    ) -> Result<ResolvedConfig, BuildError> {
        let attributes = [
            ("oci.session".to_owned(), question.session.clone()),
            ("oci.store".to_owned(), question.store.clone()),
        ];
        let attributes = attributes.into_iter().collect();
        let image = ("oci-layout", question.reference.as_str());
        let platform = question.platform.as_ref().map(platform::to_pb);
        let (name, attributes) = self.govern_image(image, attributes, platform).await?;
        let platform = question.platform.clone();
        let identifier = LayoutIdentifier::parse(
            &name,
            &attributes,
            platform.unwrap_or_else(|| self.engine.worker.platform.clone()),
        );
        let identifier = identifier.map_err(source_error)?;
        let resolved = Bridge::layout_config(self, &identifier, &question.log_name).await;
        config(resolved, &question.reference)
    }

    async fn source_meta(
        &self,
        source: &pb::SourceOp,
        log_name: &str,
    ) -> Result<SourceMeta, BuildError> {
        let source = self.govern_lookup(source.clone(), None).await?;
        match Remote::parse(&source)? {
            Some(Remote::Git(git)) => {
                let found = self.revision(&git, ObjectsWanted::Yes, log_name).await?;
                let objects = found.objects;
                Ok(SourceMeta {
                    commit: objects.map_or_else(Bytes::new, |it| it.commit),
                    modified: None,
                })
            }
            Some(Remote::Http(http)) => {
                let (file, _) = self.file(&http, None, log_name).await?;
                Ok(SourceMeta {
                    commit: Bytes::new(),
                    modified: file.modified(),
                })
            }
            None => Ok(SourceMeta::default()),
        }
    }

    async fn solve(&self, definition: &Definition) -> Result<Output, BuildError> {
        // It is going to be read.
        let mut losses = Losses::default();
        loop {
            let output = Bridge::solve(self, definition).await?.output;
            match Need::Files.bring(&output).await {
                Err(error) if losses.explain(self, &error).await => {}
                brought => return brought.map(|()| output),
            }
        }
    }

    async fn read_file(
        &self,
        output: &Output,
        path: &str,
        limit: Option<usize>,
    ) -> Result<Option<Bytes>, BuildError> {
        Bridge::read_file(self, output, path, limit).await
    }

    async fn warn(&self, notices: Vec<Notice>) {
        let warnings = notices.into_iter().map(|notice| {
            let Location { file, ranges } = location(&notice.place);
            Warning {
                vertex: notice.vertex,
                level: 1,
                short: notice.short.into_bytes(),
                detail: vec![notice.detail.as_bytes().to_vec()],
                url: notice.url.to_owned(),
                source: Some(file),
                ranges,
            }
        });
        self.progress.update(Update {
            warnings: warnings.collect(),
            ..Update::default()
        });
    }
}

fn config(
    resolved: Result<ResolvedImage, BuildError>,
    reference: &str,
) -> Result<ResolvedConfig, BuildError> {
    let image = resolved.map_err(|error| {
        error.context(format!("failed to resolve source metadata for {reference}"))
    })?;
    Ok(ResolvedConfig {
        reference: image.reference.to_string(),
        digest: image.digest.to_string(),
        config: image.config,
    })
}

pub(super) fn location(place: &Place) -> Location {
    Location::new(&place.file, &place.ranges)
}
