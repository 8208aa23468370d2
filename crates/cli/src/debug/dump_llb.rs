//! `buildctl debug dump-llb`: LLB in a form that people can read.

use std::io::{IsTerminal as _, Read as _, Write as _};

use kiln_llb::pb::{file_action::Action, op};
use kiln_llb::{Definition, json, pb};

use crate::arguments::DumpArguments;
use crate::failure::Failure;

pub(crate) fn run(arguments: &DumpArguments) -> Result<(), Failure> {
    let bytes = read(arguments)?;
    let definition = Definition::decode(bytes.into()).map_err(Failure::usage)?;
    let text = match arguments.dot {
        true => dot(&definition)?,
        false => lines(&definition)?,
    };
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::usage(format!("standard output: {error}")))
}

fn read(arguments: &DumpArguments) -> Result<Vec<u8>, Failure> {
    match arguments
        .file
        .as_deref()
        .filter(|file| file.as_os_str() != "-")
    {
        Some(file) => std::fs::read(file)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display()))),
        None => {
            let mut stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(Failure::usage(
                    "name a file with LLB, or pipe LLB to standard input",
                ));
            }
            let mut bytes = Vec::new();
            let read = stdin.read_to_end(&mut bytes);
            read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
            Ok(bytes)
        }
    }
}

/// One op a line: itself, its digest and what is said about it, in the form of upstream's.
fn lines(definition: &Definition) -> Result<String, Failure> {
    let unsaid = pb::OpMetadata::default();
    let mut text = String::new();
    for (digest, bytes) in definition.digests() {
        let digest = digest.to_string();
        let metadata = definition.metadata.get(&digest).unwrap_or(&unsaid);
        let op = json::to_go_json(&json::go_op(&decode(bytes)?));
        let metadata = json::to_go_json(&json::go_op_metadata(metadata));
        text.push_str(&format!(
            "{{\"Op\":{op},\"Digest\":\"{digest}\",\"OpMetadata\":{metadata}}}\n"
        ));
    }
    Ok(text)
}

fn decode(op: &[u8]) -> Result<pb::Op, Failure> {
    use prost::Message as _;
    pb::Op::decode(op).map_err(|error| Failure::usage(format!("failed to parse op: {error}")))
}

/// The graph for Graphviz.
fn dot(definition: &Definition) -> Result<String, Failure> {
    let mut nodes = String::new();
    let mut edges = String::new();
    for (digest, bytes) in definition.digests() {
        let op = decode(bytes)?;
        let digest = digest.to_string();
        let (label, shape) = describe(&digest, &op);
        nodes.push_str(&format!(
            "  {digest:?} [label={label:?} shape={shape:?}];\n"
        ));
        for (index, input) in op.inputs.iter().enumerate() {
            let label = edge_label(&op, index);
            edges.push_str(&format!(
                "  {:?} -> {digest:?} [label={label:?}];\n",
                input.digest
            ));
        }
    }
    Ok(format!("digraph {{\n{nodes}{edges}}}\n"))
}

fn edge_label(op: &pb::Op, index: usize) -> String {
    let Some(op::Op::Exec(exec)) = &op.op else {
        return String::new();
    };
    let mounts = exec.mounts.iter().rev();
    let mut shown = mounts.filter(|mount| mount.input == index as i64 && mount.dest != "/");
    shown
        .next()
        .map_or(String::new(), |mount| mount.dest.clone())
}

fn describe(digest: &str, op: &pb::Op) -> (String, &'static str) {
    match &op.op {
        Some(op::Op::Source(source)) => (source.identifier.clone(), "ellipse"),
        Some(op::Op::Exec(exec)) => (
            exec.meta
                .as_ref()
                .map_or(String::new(), |meta| meta.args.join(" ")),
            "box",
        ),
        Some(op::Op::Build(_)) => ("build".into(), "box3d"),
        Some(op::Op::Merge(_)) => ("merge".into(), "invtriangle"),
        Some(op::Op::Diff(_)) => ("diff".into(), "doublecircle"),
        Some(op::Op::File(file)) => {
            let names = file.actions.iter().map(action_name).collect::<Vec<_>>();
            (names.join(","), "note")
        }
        Some(op::Op::Passthrough(_)) | None => (digest.to_owned(), "plaintext"),
    }
}

fn action_name(action: &pb::FileAction) -> String {
    match &action.action {
        Some(Action::Copy(copy)) => format!("copy{{src={}, dest={}}}", copy.src, copy.dest),
        Some(Action::Mkfile(file)) => format!("mkfile{{path={}}}", file.path),
        Some(Action::Mkdir(dir)) => format!("mkdir{{path={}}}", dir.path),
        Some(Action::Rm(rm)) => format!("rm{{path={}}}", rm.path),
        Some(Action::Symlink(link)) => {
            format!(
                "symlink{{oldpath={}, newpath={}}}",
                link.oldpath, link.newpath
            )
        }
        None => String::new(),
    }
}
