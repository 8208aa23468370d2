//! SBOMs of what frontends built that made none themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_dockerfile::options::SbomOptions;
use kiln_dockerfile::sbom::{PREDICATE_TYPE, ScanTargets, Scanner};
use kiln_frontend::{chain, sbom};
use kiln_llb::build::{ResolveMode, State};

use super::built::platforms;
use super::lazy::LazyRef;
use super::result::{Attestation, FrontendResult, Refs};
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::request::Attributes;

/// Reads which scanner is asked for.
pub(crate) fn sbom_options(options: &Attributes) -> Result<Option<SbomOptions>, BuildError> {
    SbomOptions::from_attrs(options).map_err(|error| BuildError::new(Kind::Input, chain(&error)))
}

/// The result with a scan of each of its trees, unless its frontend had them scanned.
pub(crate) async fn with_sbom(
    bridge: &Arc<Bridge>,
    options: &SbomOptions,
    fresh: bool,
    mut result: FrontendResult,
) -> Result<FrontendResult, BuildError> {
    let mut said = result.attestations.values().flatten();
    if said.any(|it| it.statement.in_toto_predicate_type == PREDICATE_TYPE) {
        return Ok(result);
    }
    let platform = &bridge.engine.worker.platform;
    let scanner = sbom::scanner(bridge.as_ref(), options, ResolveMode::Default, platform).await?;
    for named in platforms(bridge, &result)? {
        let tree = match &result.refs {
            Refs::Single(tree) => tree.clone(),
            Refs::Keyed(trees) => trees.get(&named.id).cloned().flatten(),
        };
        if let Some(tree) = tree {
            let scan = scan(bridge, &scanner, &named.id, &tree, fresh)?;
            let said = result.attestations.entry(named.id).or_default();
            said.push(Attestation::sbom(scan));
        }
    }
    Ok(result)
}

fn scan(
    bridge: &Arc<Bridge>,
    scanner: &Scanner<'_>,
    name: &str,
    tree: &LazyRef,
    fresh: bool,
) -> Result<LazyRef, BuildError> {
    let core = State::from_definition(tree.definition());
    let targets = ScanTargets {
        core: core.map_err(|error| BuildError::wrap(Kind::Input, error))?,
        extras: BTreeMap::new(),
        ignores_cache: fresh,
    };
    let scan = scanner.scan(name, &targets);
    let scan = scan.map_err(|error| BuildError::new(Kind::Input, chain(&error)))?;
    Ok(LazyRef::new(bridge.clone(), scan, Vec::new()))
}
