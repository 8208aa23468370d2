//! What a step is called when its client gave it no name.

use std::collections::HashMap;

use kiln_llb::pb::{self, file_action::Action, op};
use kiln_llb::{Edge, Vertex};
use oci_spec::image::Digest;

/// Names of all vertices of a graph, which lists inputs first.
pub(crate) fn names(vertices: &[Vertex]) -> HashMap<Digest, String> {
    let mut names = HashMap::with_capacity(vertices.len());
    for vertex in vertices {
        let name = match vertex.metadata.description.get("llb.customname") {
            Some(name) => name.clone(),
            None => name_of(vertex, &names),
        };
        names.insert(vertex.digest.clone(), name);
    }
    names
}

fn name_of(vertex: &Vertex, names: &HashMap<Digest, String>) -> String {
    let input = |edge: &Edge| names.get(&edge.vertex).map_or("", String::as_str);
    match &vertex.op.op {
        Some(op::Op::Source(source)) => source.identifier.clone(),
        Some(op::Op::Exec(exec)) => exec
            .meta
            .as_ref()
            .map_or(String::new(), |meta| meta.args.join(" ")),
        Some(op::Op::File(file)) => file
            .actions
            .iter()
            .filter_map(action_name)
            .collect::<Vec<_>>()
            .join(", "),
        Some(op::Op::Build(_)) => "build".into(),
        Some(op::Op::Merge(_)) => {
            let inputs = vertex.inputs.iter().map(input).collect::<Vec<_>>();
            format!("merge ({})", inputs.join(", "))
        }
        Some(op::Op::Diff(diff)) => {
            let side = |index: Option<i64>| match usize::try_from(index.unwrap_or(-1)) {
                Ok(index) => format!("({})", vertex.inputs.get(index).map_or("", input)),
                Err(_) => "scratch".into(),
            };
            let lower = side(diff.lower.as_ref().map(|lower| lower.input));
            let upper = side(diff.upper.as_ref().map(|upper| upper.input));
            format!("diff {lower} -> {upper}")
        }
        Some(op::Op::Passthrough(pass)) => format!("passthrough {}", pass.id),
        None => "unknown".into(),
    }
}

fn action_name(action: &pb::FileAction) -> Option<String> {
    Some(match action.action.as_ref()? {
        Action::Mkdir(dir) => format!("mkdir {}", dir.path),
        Action::Mkfile(file) => format!("mkfile {}", file.path),
        Action::Symlink(link) => format!("symlink {} -> {}", link.newpath, link.oldpath),
        Action::Rm(rm) => format!("rm {}", rm.path),
        Action::Copy(copy) => format!("copy {} {}", copy.src, copy.dest),
    })
}
