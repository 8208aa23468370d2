//! `EXPOSE`: ports, ranges of ports and protocols.

use super::dispatch::Instruction;
use super::error::{LowerError, LowerErrorKind};
use super::history::{Effect, commit, plain_list};
use super::{Context, Stage};
use crate::error::quoted;
use crate::image::Empty;
use crate::lint::rules;
use std::net::IpAddr;

pub(crate) fn expose(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    words: &[String],
) -> Result<(), LowerError> {
    let state = stage.state();
    let mut ports = Vec::new();
    for word in words {
        for spec in cx.lexer.words(word, &state.settings().env)? {
            ports.extend(parse(cx, at, &spec).map_err(LowerErrorKind::Port)?);
        }
    }
    let line = format!("EXPOSE {}", plain_list(&ports));
    stage
        .image
        .config
        .exposed_ports
        .extend(ports.into_iter().map(|port| (port, Empty {})));
    commit(stage, cx.epoch, line, Effect::None);
    Ok(())
}

/// The ports of one word, `[[ip:]host:]port[-port][/protocol]`. Address and host port mean nothing here; they are
/// accepted because they always were.
fn parse(cx: &mut Context<'_>, at: &Instruction<'_>, spec: &str) -> Result<Vec<String>, String> {
    let (address, host, container) = split_parts(spec);
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(format!("invalid port: {}: no port specified", quoted(spec)));
    }
    let lower = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_string(),
        known @ ("tcp" | "udp" | "sctp") => known.to_string(),
        _ => {
            return Err(format!(
                "invalid port: {}: invalid proto: {protocol}",
                quoted(spec)
            ));
        }
    };
    if protocol != protocol.to_lowercase() {
        cx.linter
            .report(rules::expose_proto_casing(spec), at.location, at.comments);
    }
    if !address.is_empty() || !host.is_empty() {
        cx.linter
            .report(rules::expose_invalid_format(spec), at.location, at.comments);
    }
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    if !plain.is_empty() && plain.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {plain}"));
    }
    let (first, last) =
        parse_range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    if !host.is_empty() {
        let (host_first, host_last) =
            parse_range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if last - first != host_last - host_first && first != last {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {port} and {host}"
            ));
        }
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{lower}"))
        .collect())
}

fn split_parts(spec: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = spec.rsplit_once(':') else {
        return ("", "", spec);
    };
    match rest.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", rest, container),
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}
