//! File actions in protobuf's JSON form.

use super::metadata::base64;
use super::object;
use super::value::Value;
use kiln_protocol::pb::{self, file_action, user_opt};

pub(super) fn file_action(action: &pb::FileAction) -> Value {
    let out = object()
        .long("input", action.input)
        .long("secondaryInput", action.secondary_input)
        .long("output", action.output);
    match &action.action {
        None => out,
        Some(file_action::Action::Copy(it)) => out.field("copy", copy(it)),
        Some(file_action::Action::Mkfile(it)) => out.field("mkfile", make_file(it)),
        Some(file_action::Action::Mkdir(it)) => out.field("mkdir", make_dir(it)),
        Some(file_action::Action::Rm(it)) => {
            let remove = object()
                .text("path", &it.path)
                .flag("allowNotFound", it.allow_not_found)
                .flag("allowWildcard", it.allow_wildcard);
            out.field("rm", remove.done())
        }
        Some(file_action::Action::Symlink(it)) => {
            let link = object()
                .text("oldpath", &it.oldpath)
                .text("newpath", &it.newpath)
                .optional("owner", it.owner.as_ref().map(owner))
                .long("timestamp", it.timestamp);
            out.field("symlink", link.done())
        }
    }
    .done()
}

fn copy(copy: &pb::FileActionCopy) -> Value {
    object()
        .text("src", &copy.src)
        .text("dest", &copy.dest)
        .optional("owner", copy.owner.as_ref().map(owner))
        .number("mode", copy.mode.into())
        .flag("followSymlink", copy.follow_symlink)
        .flag("dirCopyContents", copy.dir_copy_contents)
        .flag(
            "attemptUnpackDockerCompatibility",
            copy.attempt_unpack_docker_compatibility,
        )
        .flag("createDestPath", copy.create_dest_path)
        .flag("allowWildcard", copy.allow_wildcard)
        .flag("allowEmptyWildcard", copy.allow_empty_wildcard)
        .long("timestamp", copy.timestamp)
        .texts("includePatterns", &copy.include_patterns)
        .texts("excludePatterns", &copy.exclude_patterns)
        .flag(
            "alwaysReplaceExistingDestPaths",
            copy.always_replace_existing_dest_paths,
        )
        .text("modeStr", &copy.mode_str)
        .texts("requiredPaths", &copy.required_paths)
        .done()
}

fn make_file(file: &pb::FileActionMkFile) -> Value {
    object()
        .text("path", &file.path)
        .number("mode", file.mode.into())
        .text("data", &base64(&file.data))
        .optional("owner", file.owner.as_ref().map(owner))
        .long("timestamp", file.timestamp)
        .done()
}

fn make_dir(dir: &pb::FileActionMkDir) -> Value {
    object()
        .text("path", &dir.path)
        .number("mode", dir.mode.into())
        .flag("makeParents", dir.make_parents)
        .optional("owner", dir.owner.as_ref().map(owner))
        .long("timestamp", dir.timestamp)
        .done()
}

fn owner(owner: &pb::ChownOpt) -> Value {
    let user = |user: &pb::UserOpt| match &user.user {
        None => object().done(),
        Some(user_opt::User::ById(id)) => {
            object().field("byID", Value::Number((*id).into())).done()
        }
        Some(user_opt::User::ByName(named)) => {
            let named = object()
                .text("name", &named.name)
                .long("input", named.input);
            object().field("byName", named.done()).done()
        }
    };
    object()
        .optional("user", owner.user.as_ref().map(user))
        .optional("group", owner.group.as_ref().map(user))
        .done()
}
