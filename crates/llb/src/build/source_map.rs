//! Where ops come from: files and the lines in them.

use crate::definition::Definition;
use bytes::Bytes;
use kiln_protocol::pb;
use oci_spec::image::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A file that ops were made from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceMap {
    /// How the file itself was obtained.
    pub definition: Option<Definition>,
    /// Its name.
    pub filename: String,
    /// Its language, by linguist's names.
    pub language: String,
    /// Its content.
    pub data: Bytes,
}

/// Lines of a file.
#[derive(Clone, Debug)]
pub struct SourceLocation {
    /// The file.
    pub map: Arc<SourceMap>,
    /// The lines.
    pub ranges: Vec<pb::Range>,
}

/// Gathers the locations of ops while they are marshalled.
#[derive(Default)]
pub(crate) struct Collector {
    maps: Vec<Arc<SourceMap>>,
    locations: BTreeMap<String, pb::Locations>,
}

impl Collector {
    pub(crate) fn add(&mut self, digest: &Digest, locations: &[SourceLocation]) {
        let entry: Vec<_> = locations
            .iter()
            .map(|location| pb::Location {
                source_index: self.index_of(&location.map),
                ranges: location.ranges.clone(),
            })
            .collect();
        let known = self.locations.entry(digest.to_string()).or_default();
        known.locations.extend(entry);
    }

    fn index_of(&mut self, map: &Arc<SourceMap>) -> i32 {
        let same = |known: &Arc<SourceMap>| Arc::ptr_eq(known, map) || known == map;
        let index = self.maps.iter().position(same).unwrap_or_else(|| {
            self.maps.push(map.clone());
            self.maps.len() - 1
        });
        index as i32
    }

    pub(crate) fn finish(self) -> pb::Source {
        let info = |map: &Arc<SourceMap>| pb::SourceInfo {
            filename: map.filename.clone(),
            data: map.data.clone(),
            definition: map.definition.clone().map(Into::into),
            language: map.language.clone(),
        };
        pb::Source {
            infos: self.maps.iter().map(info).collect(),
            locations: self.locations,
        }
    }
}
