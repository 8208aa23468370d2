//! `gateway.v0`: an image is run as a frontend. It builds over its standard
//! input and output.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_dockerfile::image::ImageConfig;
use kiln_frontend::caps;
use kiln_llb::Definition;
use kiln_llb::build::{ImageOptions, ImageRecord, MarshalOptions, State};
use kiln_registry::Reference;
use kiln_source::ImageIdentifier;
use oci_spec::image::Digest;

use super::container::{self, Program};
use super::invalid;
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::frontend::FrontendResult;
use crate::ops::source::source_error;
use crate::request::Attributes;

/// Capability that frontends need for [`Bridge`]'s inputs.
const INPUTS: &str = "moby.buildkit.frontend.inputs";

/// Images made before there were labels for capabilities, but with inputs.
const WITH_INPUTS: [&str; 4] = [
    "sha256:9ac1c43a60e31dca741a6fe8314130a9cd4c4db0311fbbc636ff992ef60ae76d",
    "sha256:080bd74d8778f83e7b670de193362d8c593c8b14f5c8fb919d28ee8feda0d069",
    "sha256:60543a9d92b92af5088fb2938fb09b2072684af8384399e153e137fe081f8ab4",
    "sha256:de85b2f3a3e8a2f7fe48e8e84a65f6fdd5cd5183afa6412fff9caa6871649c44",
];

/// Runs the image that the options name.
pub(in crate::frontend) async fn run(
    bridge: &Arc<Bridge>,
    options: &Attributes,
    inputs: BTreeMap<String, Definition>,
) -> Result<FrontendResult, BuildError> {
    if options.contains_key("gateway-devel") {
        return Err(invalid("development gateway is no longer supported"));
    }
    let source = options.get("source");
    let source = source.ok_or_else(|| invalid("no source specified for gateway"))?;
    check_allowed(&bridge.engine.worker.frontends.gateway_repositories, source)?;
    refuse_replacement(options, source)?;
    let image = Image::resolve(bridge, source).await?;
    image.check_caps(options, &inputs)?;
    let program = Program {
        name: source,
        definition: &image.definition,
        config: &image.config.config,
        options,
    };
    container::run(bridge, program, inputs).await
}

/// Operators may say which images they trust.
fn check_allowed(allowed: &[String], source: &str) -> Result<(), BuildError> {
    if allowed.is_empty() {
        return Ok(());
    }
    let name = |text: &str| {
        let parsed = Reference::parse(text);
        let parsed = parsed.map_err(|error| BuildError::wrap(Kind::Input, error));
        parsed.map(|reference| reference.name())
    };
    let source_name = name(source)?;
    for repository in allowed {
        if name(repository)? == source_name {
            return Ok(());
        }
    }
    let error = invalid(format!("'{source}' is not an allowed gateway source"));
    Err(error.hint("the daemon's settings list the repositories that are (allowedRepositories)"))
}

/// Contexts may take the place of images, but of frontends not yet.
fn refuse_replacement(options: &Attributes, source: &str) -> Result<(), BuildError> {
    let name = source.strip_suffix(":latest").unwrap_or(source);
    let key = format!("context:{name}");
    let is_replaced = options.keys().any(|it| {
        it.strip_prefix(&key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    match is_replaced {
        true => Err(invalid(format!(
            "context {name:?} in place of a frontend image is not supported yet"
        ))),
        false => Ok(()),
    }
}

/// A frontend's image.
struct Image {
    digest: Digest,
    config: ImageConfig,
    /// Gives its files.
    definition: Definition,
}

impl Image {
    async fn resolve(bridge: &Bridge, source: &str) -> Result<Self, BuildError> {
        let platform = bridge.engine.worker.platform.clone();
        let image = ("docker-image", source);
        let wire = Some(kiln_llb::platform::to_pb(&platform));
        let (source, attributes) = bridge.govern_image(image, BTreeMap::new(), wire).await?;
        let identifier = ImageIdentifier::parse(&source, &attributes, platform);
        let identifier = identifier.map_err(source_error)?;
        let reference = &identifier.reference;
        let name = format!("resolve image config for docker-image://{reference}");
        let resolved = bridge.image_config(&identifier, &name).await;
        let resolved = resolved.map_err(|error| {
            error.context(format!("failed to resolve source metadata for {reference}"))
        })?;
        let config = ImageConfig::parse(&resolved.config);
        let config = config.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let options = ImageOptions {
            record: ImageRecord::Frontend,
            ..ImageOptions::default()
        };
        let state = State::image(&resolved.reference.to_string(), options);
        let state = state.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let definition = state.marshal(&MarshalOptions::default());
        Ok(Self {
            digest: resolved.digest,
            config,
            definition: definition.map_err(|error| BuildError::wrap(Kind::Internal, error))?,
        })
    }

    /// What a request needs must be among what the image says it can do.
    fn check_caps(
        &self,
        options: &Attributes,
        inputs: &BTreeMap<String, Definition>,
    ) -> Result<(), BuildError> {
        let label = self.label("moby.buildkit.frontend.caps");
        let is_old = WITH_INPUTS.contains(&self.digest.as_ref());
        let can = |name: &str| {
            caps::names(label).any(|known| known == name) || (is_old && name == INPUTS)
        };
        let wanted = options.get("frontend.caps").map_or("", String::as_str);
        let for_inputs = (!inputs.is_empty()).then_some(INPUTS);
        let missing = caps::names(wanted)
            .chain(for_inputs)
            .find(|name| !can(name));
        match missing {
            Some(name) => Err(caps::unsupported(name).into()),
            None => Ok(()),
        }
    }

    fn label(&self, name: &str) -> &str {
        self.config
            .config
            .labels
            .get(name)
            .map_or("", String::as_str)
    }
}
