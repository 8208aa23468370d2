//! Encoding file changes.

use super::constraints::Constraints;
use super::file::{Copy, FileAction, FileNode, Mode, Owner, User};
use super::marshal::{Context, MarshalError, NO_INPUT};
use crate::{caps, path};
use kiln_protocol::pb::{self, file_action, op, user_opt};

pub(crate) fn file_op(
    file: &FileNode,
    constraints: &mut Constraints,
    context: &Context<'_>,
) -> Result<pb::Op, MarshalError> {
    if file.actions.is_empty() {
        return Err(MarshalError::NoActions);
    }
    constraints.require(caps::FILE_BASE);
    let mut op = constraints.frame(&context.options.constraints);
    // What files become does not depend on where they are written.
    op.platform = None;
    let base = context.add_input(&mut op.inputs, file.base.output.as_ref())?;
    let mut copied = Vec::with_capacity(file.actions.0.len());
    for action in &file.actions.0 {
        copied.push(match action {
            FileAction::Copy(copy) => {
                context.add_input(&mut op.inputs, copy.from.output.as_ref())?
            }
            _ => NO_INPUT,
        });
    }
    let inputs = op.inputs.len() as i64;
    let last = file.actions.0.len() - 1;
    let parent = &file.base.settings.dir;
    let actions = file.actions.0.iter().zip(copied).enumerate();
    let actions = actions.map(|(index, (action, secondary_input))| pb::FileAction {
        input: if index == 0 {
            base
        } else {
            inputs + index as i64 - 1
        },
        secondary_input,
        output: if index == last { 0 } else { -1 },
        action: Some(encode(action, parent, base)),
    });
    let actions = actions.collect();
    op.op = Some(op::Op::File(pb::FileOp { actions }));
    Ok(op)
}

fn encode(action: &FileAction, parent: &str, base: i64) -> file_action::Action {
    let owner = |owner: &Option<Owner>| owner.as_ref().map(|it| owner_opt(it, base));
    match action {
        FileAction::Copy(copy) => file_action::Action::Copy(encode_copy(copy, parent, base)),
        FileAction::MakeFile(file) => file_action::Action::Mkfile(pb::FileActionMkFile {
            path: absolute(parent, &file.path),
            mode: (file.mode & 0o777) as i32,
            data: file.data.clone(),
            owner: owner(&file.owner),
            timestamp: file.time.to_wire(),
        }),
        FileAction::MakeDir(dir) => file_action::Action::Mkdir(pb::FileActionMkDir {
            path: absolute(parent, &dir.path),
            mode: (dir.mode & 0o777) as i32,
            make_parents: dir.parents,
            owner: owner(&dir.owner),
            timestamp: dir.time.to_wire(),
        }),
        FileAction::Symlink(link) => file_action::Action::Symlink(pb::FileActionSymlink {
            oldpath: link.target.clone(),
            newpath: link.path.clone(),
            owner: owner(&link.owner),
            timestamp: link.time.to_wire(),
        }),
        FileAction::Remove(remove) => file_action::Action::Rm(pb::FileActionRm {
            path: absolute(parent, &remove.path),
            allow_not_found: remove.allow_not_found,
            allow_wildcard: remove.wildcard,
        }),
    }
}

fn encode_copy(copy: &Copy, parent: &str, base: i64) -> pb::FileActionCopy {
    let (mode, mode_str) = match &copy.mode {
        Mode::Keep => (-1, String::new()),
        Mode::Bits(bits) => (*bits as i32, String::new()),
        Mode::Symbolic(text) => (0, text.clone()),
    };
    let source = path::clean(&copy.source);
    let dir = if path::is_abs(&source) {
        "/"
    } else {
        copy.from.settings.dir.as_str()
    };
    pb::FileActionCopy {
        src: path::join([dir, source.as_str()]),
        dest: destination(parent, &copy.dest),
        owner: copy.owner.as_ref().map(|it| owner_opt(it, base)),
        mode,
        follow_symlink: copy.follow_symlinks,
        dir_copy_contents: copy.contents_only,
        attempt_unpack_docker_compatibility: copy.unpack,
        create_dest_path: copy.create_dest,
        allow_wildcard: copy.wildcard,
        allow_empty_wildcard: copy.empty_wildcard,
        timestamp: copy.time.to_wire(),
        include_patterns: copy.include.clone(),
        exclude_patterns: copy.exclude.clone(),
        always_replace_existing_dest_paths: copy.always_replace,
        mode_str,
        required_paths: copy.required.clone(),
    }
}

fn absolute(parent: &str, path: &str) -> String {
    let path = path::clean(path);
    if path::is_abs(&path) {
        path
    } else {
        path::join(["/", parent, path.as_str()])
    }
}

/// Like [`absolute`], but a trailing `/` or `/.` stays: it says that the destination is a directory.
fn destination(parent: &str, path: &str) -> String {
    let mut result = absolute(parent, path);
    if path.ends_with('/') {
        if !result.ends_with('/') {
            result.push('/');
        }
    } else if path.ends_with("/.") {
        if result != "/" {
            result.push('/');
        }
        result.push('.');
    }
    result
}

fn owner_opt(owner: &Owner, base: i64) -> pb::ChownOpt {
    let user = |user: &Option<User>| {
        let user = match user.as_ref()? {
            User::Id(id) => user_opt::User::ById(*id),
            User::Name(name) => user_opt::User::ByName(pb::NamedUserOpt {
                name: name.clone(),
                input: base,
            }),
        };
        Some(pb::UserOpt { user: Some(user) })
    };
    pb::ChownOpt {
        user: user(&owner.user),
        group: user(&owner.group),
    }
}
