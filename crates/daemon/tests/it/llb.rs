//! Definitions and requests to build them.

use kiln_llb::build::Constraints;
use kiln_llb::build::{FileActions, ImageOptions, MakeFile, MarshalOptions, Run, State};
use kiln_protocol::control::SolveRequest;
use kiln_protocol::pb;

/// One file with some content.
pub(crate) fn file(content: &str) -> pb::Definition {
    let mut actions = FileActions::new();
    actions.make_file(MakeFile {
        path: "/file".into(),
        mode: 0o644,
        data: content.to_owned().into(),
        ..MakeFile::default()
    });
    encode(&State::scratch().file(actions, Constraints::new()))
}

/// A shell command in an image.
pub(crate) fn shell(image: &str, script: &str) -> pb::Definition {
    let run = Run {
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..Run::default()
    };
    let image = State::image(image, ImageOptions::default()).unwrap();
    encode(&image.dir("/").run(run).root)
}

pub(crate) fn encode(state: &State) -> pb::Definition {
    state.marshal(&MarshalOptions::default()).unwrap().into()
}

/// A build of a definition under a name.
pub(crate) fn solve(name: &str, definition: pb::Definition) -> SolveRequest {
    SolveRequest {
        r#ref: name.into(),
        definition: Some(definition),
        ..SolveRequest::default()
    }
}
