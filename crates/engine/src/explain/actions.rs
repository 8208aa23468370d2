//! File actions as facts.

use kiln_llb::pb::{self, file_action::Action, user_opt::User};

use super::aspect::Aspect;
use super::summary::Facts;
use super::words;

/// Adds what the actions of a step do.
pub(super) fn add(facts: &mut Facts, file: &pb::FileOp) {
    for (number, action) in file.actions.iter().enumerate() {
        match &action.action {
            Some(Action::Copy(copy)) => {
                facts.add(
                    Aspect::Action(number),
                    &format!("copy {} {}", copy.src, copy.dest),
                );
                owner(facts, number, copy.owner.as_ref());
                match (copy.mode_str.as_str(), copy.mode) {
                    ("", mode) if mode >= 0 => facts.add(Aspect::Mode(number), &octal(mode)),
                    ("", _) => {}
                    (text, _) => facts.add(Aspect::Mode(number), text),
                }
                options(facts, number, &copy_options(copy));
            }
            Some(Action::Mkfile(file)) => {
                let content = words::hash(&file.data);
                facts.add(Aspect::Action(number), &format!("make file {}", file.path));
                owner(facts, number, file.owner.as_ref());
                facts.add(Aspect::Mode(number), &octal(file.mode));
                let said = [Some(format!("content {content}")), time(file.timestamp)];
                options(
                    facts,
                    number,
                    &said.into_iter().flatten().collect::<Vec<_>>(),
                );
            }
            Some(Action::Mkdir(dir)) => {
                facts.add(
                    Aspect::Action(number),
                    &format!("make directory {}", dir.path),
                );
                owner(facts, number, dir.owner.as_ref());
                facts.add(Aspect::Mode(number), &octal(dir.mode));
                let parents = dir.make_parents.then(|| "with parents".to_owned());
                let said = [parents, time(dir.timestamp)];
                options(
                    facts,
                    number,
                    &said.into_iter().flatten().collect::<Vec<_>>(),
                );
            }
            Some(Action::Symlink(link)) => {
                let text = format!("link {} to {}", link.newpath, link.oldpath);
                facts.add(Aspect::Action(number), &text);
                owner(facts, number, link.owner.as_ref());
                let said: Vec<String> = time(link.timestamp).into_iter().collect();
                options(facts, number, &said);
            }
            Some(Action::Rm(rm)) => {
                facts.add(Aspect::Action(number), &format!("remove {}", rm.path));
                let said = [
                    rm.allow_not_found.then(|| "if it exists".to_owned()),
                    rm.allow_wildcard.then(|| "as a pattern".to_owned()),
                ];
                options(
                    facts,
                    number,
                    &said.into_iter().flatten().collect::<Vec<_>>(),
                );
            }
            None => {}
        }
    }
}

fn options(facts: &mut Facts, number: usize, said: &[String]) {
    if !said.is_empty() {
        facts.add(Aspect::Options(number), &said.join(", "));
    }
}

fn copy_options(copy: &pb::FileActionCopy) -> Vec<String> {
    let flags = [
        (copy.follow_symlink, "follows links"),
        (copy.dir_copy_contents, "content of directories"),
        (copy.attempt_unpack_docker_compatibility, "unpacks archives"),
        (copy.create_dest_path, "makes the destination"),
        (copy.allow_wildcard, "patterns"),
        (copy.allow_empty_wildcard, "empty patterns"),
        (
            copy.always_replace_existing_dest_paths,
            "replaces what is there",
        ),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    let lists = [
        ("includes", &copy.include_patterns),
        ("excludes", &copy.exclude_patterns),
        ("requires", &copy.required_paths),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    flags
        .map(|(_, text)| text.to_owned())
        .chain(lists.map(|(name, list)| format!("{name} {}", list.join(" "))))
        .chain(time(copy.timestamp))
        .collect()
}

fn time(timestamp: i64) -> Option<String> {
    (timestamp != -1).then(|| format!("time {timestamp}"))
}

fn octal(mode: i32) -> String {
    format!("{mode:04o}")
}

fn owner(facts: &mut Facts, number: usize, owner: Option<&pb::ChownOpt>) {
    let Some(owner) = owner else { return };
    let name = |user: &Option<pb::UserOpt>| match user.as_ref().and_then(|it| it.user.as_ref()) {
        Some(User::ByName(named)) => named.name.clone(),
        Some(User::ById(id)) => id.to_string(),
        None => String::new(),
    };
    let text = format!("{}:{}", name(&owner.user), name(&owner.group));
    facts.add(Aspect::Owner(number), &text);
}
