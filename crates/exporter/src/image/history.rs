//! Image histories, brought in line with the layers that were really made.

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::layers::LayerBlob;

/// One entry of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<Time>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) created_by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) author: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) comment: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) empty_layer: bool,
}

/// Makes the entries that stand for layers as many as there are layers, and gives every entry a time.
///
/// `None` is a config without history, which stays so if there are no layers either.
pub(crate) fn reconcile(
    history: Option<Vec<History>>,
    layers: &[LayerBlob],
) -> Option<Vec<History>> {
    if history.is_none() && layers.is_empty() {
        return None;
    }
    let mut history = history.unwrap_or_default();
    mark_surplus_empty(&mut history, layers.len());
    let accounted = history.iter().filter(|entry| !entry.empty_layer).count();
    history.extend(layers.iter().skip(accounted).map(|layer| History {
        created: layer.created.map(Time::from),
        created_by: match layer.description.as_str() {
            "" => "created by buildkit".to_owned(),
            description => description.to_owned(),
        },
        comment: "buildkit.exporter.image.v0".to_owned(),
        ..History::default()
    }));
    let with_layers = history.iter_mut().filter(|entry| !entry.empty_layer);
    for (entry, layer) in with_layers.zip(layers) {
        entry.created = entry.created.or(layer.created.map(Time::from));
    }
    fill_times(&mut history);
    Some(history)
}

/// Entries beyond the layers there are become empty ones.
fn mark_surplus_empty(history: &mut [History], layers: usize) {
    for entry in history
        .iter_mut()
        .filter(|entry| !entry.empty_layer)
        .skip(layers)
    {
        entry.empty_layer = true;
    }
}

/// Entries without a time get that of the entry before them. Those at the start, and those right after a base image,
/// get the time of the first entry that follows and has one, so that a new `ENV` is not as old as the base.
fn fill_times(history: &mut [History]) {
    let mut current = None;
    let mut gap_seen = false;
    for entry in history.iter() {
        match entry.created {
            Some(created) => {
                current = Some(created);
                if gap_seen {
                    break;
                }
            }
            None => gap_seen = true,
        }
    }
    let mut filling = false;
    for entry in history {
        match entry.created {
            Some(created) if filling => current = Some(created),
            Some(_) => {}
            None => {
                filling = true;
                entry.created = current;
            }
        }
    }
}

/// Brings times down to the epoch, except for the entries that the base image has as well.
pub(crate) fn clamp(history: &mut [History], base: &[History], epoch: Time) {
    let inherited = history
        .iter()
        .zip(base)
        .take_while(|(entry, base)| entry == base)
        .count();
    for entry in history.iter_mut().skip(inherited) {
        if entry.created.is_none_or(|created| created.is_after(&epoch)) {
            entry.created = Some(epoch);
        }
    }
}
