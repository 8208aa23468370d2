//! Build arguments: the predefined ones and those before the first stage.

use super::Targets;
use super::capture::ArgInfo;
use super::error::LowerError;
use crate::instruction::{Arg, Located};
use crate::shell::Lexer;
use kiln_llb::build::Env;
use kiln_llb::pb;
use kiln_llb::platform;
use std::collections::{BTreeMap, BTreeSet};

type BuildArgs = BTreeMap<String, String>;

/// The arguments that are always there, as the caller overrides them.
pub(crate) fn predefined(targets: &Targets, overrides: &BuildArgs, target_stage: &str) -> Env {
    let (build, target) = (&targets.build, &targets.target);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let stage = if target_stage.is_empty() {
        "default"
    } else {
        target_stage
    };
    let mut env = Env::default();
    for (name, value) in [
        ("BUILDPLATFORM", platform::format(build)),
        ("BUILDOS", build.os().to_string()),
        ("BUILDOSVERSION", text(build.os_version())),
        ("BUILDARCH", build.architecture().to_string()),
        ("BUILDVARIANT", text(build.variant())),
        ("TARGETPLATFORM", platform::format_all(target)),
        ("TARGETOS", target.os().to_string()),
        ("TARGETOSVERSION", text(target.os_version())),
        ("TARGETARCH", target.architecture().to_string()),
        ("TARGETVARIANT", text(target.variant())),
        ("TARGETSTAGE", stage.to_string()),
    ] {
        env.set(name, overrides.get(name).cloned().unwrap_or(value));
    }
    env
}

/// Adds the arguments before the first stage. What the caller gives counts more than a default.
pub(crate) fn with_meta_args(
    mut env: Env,
    lexer: &Lexer,
    meta_args: &[Located<Arg>],
    given: &BuildArgs,
) -> Result<(Env, BTreeMap<String, ArgInfo>), LowerError> {
    let mut infos: BTreeMap<String, ArgInfo> = BTreeMap::new();
    for instruction in meta_args {
        for definition in &instruction.value.args {
            let mut info = ArgInfo {
                definition: definition.clone(),
                value: String::new(),
                needs: BTreeSet::new(),
                location: instruction.location,
            };
            let mut value = given.get(&definition.name).cloned();
            if let (None, Some(default)) = (&value, &definition.value) {
                let expansion = lexer
                    .expand(default, &env)
                    .map_err(|error| LowerError::from(error).at(instruction.location))?;
                value = Some(expansion.text);
                info.needs = expansion.matched;
                // A default may build on the argument's own earlier value.
                if info.needs.remove(&definition.name)
                    && let Some(earlier) = infos.get(&definition.name)
                {
                    info.needs.extend(earlier.needs.iter().cloned());
                }
            }
            if let Some(value) = value {
                env.set(definition.name.as_str(), value.as_str());
                info.value = value;
            }
            infos.insert(definition.name.clone(), info);
        }
    }
    Ok((env, infos))
}

/// The proxy that build arguments ask for.
pub(crate) fn proxy(given: &BuildArgs) -> Option<pb::ProxyEnv> {
    let mut proxy = None;
    for (name, value) in given {
        let field: fn(&mut pb::ProxyEnv) -> &mut String = match name.to_lowercase().as_str() {
            "http_proxy" => |proxy| &mut proxy.http_proxy,
            "https_proxy" => |proxy| &mut proxy.https_proxy,
            "ftp_proxy" => |proxy| &mut proxy.ftp_proxy,
            "no_proxy" => |proxy| &mut proxy.no_proxy,
            "all_proxy" => |proxy| &mut proxy.all_proxy,
            _ => continue,
        };
        *field(proxy.get_or_insert_default()) = value.clone();
    }
    proxy
}
