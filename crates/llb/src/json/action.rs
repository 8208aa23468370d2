//! File actions as JSON.

use super::metadata::base64;
use super::value::{Style, Value};
use kiln_protocol::pb::{self, file_action, user_opt};

pub(super) fn file_action(action: &pb::FileAction, style: Style) -> Value {
    let kind = kind(action, style);
    if style == Style::Go {
        // Indexes are always there, whatever they are.
        let number = |index| Value::Number(index);
        let kind = kind.map(|(name, value)| (name.to_owned(), value));
        return style
            .object()
            .field("input", number(action.input))
            .field("secondaryInput", number(action.secondary_input))
            .field("output", number(action.output))
            .field("Action", Value::Object(kind.into_iter().collect()))
            .done();
    }
    let out = style
        .object()
        .long("input", action.input)
        .long("secondaryInput", action.secondary_input)
        .long("output", action.output);
    match kind {
        None => out.done(),
        Some((name, value)) => out.field(name, value).done(),
    }
}

/// What an action does, with the name of its kind.
fn kind(action: &pb::FileAction, style: Style) -> Option<(&'static str, Value)> {
    Some(match action.action.as_ref()? {
        file_action::Action::Copy(it) => ("copy", copy(it, style)),
        file_action::Action::Mkfile(it) => ("mkfile", make_file(it, style)),
        file_action::Action::Mkdir(it) => ("mkdir", make_dir(it, style)),
        file_action::Action::Rm(it) => {
            let remove = style
                .object()
                .text("path", &it.path)
                .flag("allowNotFound", it.allow_not_found)
                .flag("allowWildcard", it.allow_wildcard);
            ("rm", remove.done())
        }
        file_action::Action::Symlink(it) => {
            let link = style
                .object()
                .text("oldpath", &it.oldpath)
                .text("newpath", &it.newpath)
                .optional("owner", it.owner.as_ref().map(|it| owner(it, style)))
                .long("timestamp", it.timestamp);
            ("symlink", link.done())
        }
    })
}

fn copy(copy: &pb::FileActionCopy, style: Style) -> Value {
    style
        .object()
        .text("src", &copy.src)
        .text("dest", &copy.dest)
        .optional("owner", copy.owner.as_ref().map(|it| owner(it, style)))
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
        .texts(
            style.name("includePatterns", "include_patterns"),
            &copy.include_patterns,
        )
        .texts(
            style.name("excludePatterns", "exclude_patterns"),
            &copy.exclude_patterns,
        )
        .flag(
            "alwaysReplaceExistingDestPaths",
            copy.always_replace_existing_dest_paths,
        )
        .text("modeStr", &copy.mode_str)
        .texts(
            style.name("requiredPaths", "required_paths"),
            &copy.required_paths,
        )
        .done()
}

fn make_file(file: &pb::FileActionMkFile, style: Style) -> Value {
    style
        .object()
        .text("path", &file.path)
        .number("mode", file.mode.into())
        .text("data", &base64(&file.data))
        .optional("owner", file.owner.as_ref().map(|it| owner(it, style)))
        .long("timestamp", file.timestamp)
        .done()
}

fn make_dir(dir: &pb::FileActionMkDir, style: Style) -> Value {
    style
        .object()
        .text("path", &dir.path)
        .number("mode", dir.mode.into())
        .flag("makeParents", dir.make_parents)
        .optional("owner", dir.owner.as_ref().map(|it| owner(it, style)))
        .long("timestamp", dir.timestamp)
        .done()
}

fn owner(owner: &pb::ChownOpt, style: Style) -> Value {
    let user = |user: &pb::UserOpt| {
        let found = user.user.as_ref().map(|it| match it {
            user_opt::User::ById(id) => (style.name("byID", "byId"), Value::Number((*id).into())),
            user_opt::User::ByName(named) => {
                let named = style
                    .object()
                    .text("name", &named.name)
                    .long("input", named.input);
                ("byName", named.done())
            }
        });
        // Go's form has no root: zero is left out.
        let found =
            found.filter(|(_, value)| style == Style::Proto || !matches!(value, Value::Number(0)));
        let inner = found.map(|(name, value)| (name.to_owned(), value));
        let inner = Value::Object(inner.into_iter().collect());
        match style {
            Style::Proto => inner,
            Style::Go => style.object().field("User", inner).done(),
        }
    };
    style
        .object()
        .optional("user", owner.user.as_ref().map(user))
        .optional("group", owner.group.as_ref().map(user))
        .done()
}
