//! Reasons in words.

use kiln_engine::explain::{Aspect, Cause, FileChange, FileChanges, Origin, Presence};

/// A reason as the end of a sentence that begins with "ran:". `name_of` tells what steps are called.
pub(super) fn sentence(cause: &Cause, name_of: &dyn Fn(usize) -> String) -> String {
    match cause {
        Cause::CacheOff { option } => format!("the cache is off for it ({option})"),
        Cause::Changed {
            aspect,
            before,
            now,
            origin,
        } => changed(aspect, (before.as_deref(), now.as_deref()), origin),
        Cause::Files { from, changes } => files(from, changes),
        Cause::Follows { step } => format!("follows from {}", name_of(*step)),
        Cause::Order {
            now,
            before,
            presence,
        } => order(now.as_deref(), before.as_deref(), *presence),
        Cause::Definition => "its definition changed in something that is not recorded".to_owned(),
        Cause::Gone => {
            "nothing changed, but its cached result is gone: pruned, or removed to free space"
                .to_owned()
        }
        Cause::Lost => "its cached result could not be loaded".to_owned(),
        Cause::Unfinished => {
            "nothing changed, but the earlier build did not complete it".to_owned()
        }
        Cause::Session => {
            "it depends on files of the client without looking at their content".to_owned()
        }
        Cause::New => "no earlier build had this step".to_owned(),
        Cause::FirstBuild => "nothing like it was built before on this root".to_owned(),
        Cause::ImportFailed { cache, why } => format!("cache {cache} could not be imported: {why}"),
    }
}

fn changed(
    aspect: &Aspect,
    (before, now): (Option<&str>, Option<&str>),
    origin: &Origin,
) -> String {
    let what = match (aspect, origin) {
        (Aspect::Variable(name), Origin::BuildArgument) => format!("build argument {name}"),
        (Aspect::Variable(name), Origin::BaseImage(image)) => {
            format!("environment variable {name} of base image {image}")
        }
        _ => subject(aspect),
    };
    let command = |text: &str| text.strip_prefix("/bin/sh -c ").unwrap_or(text).to_owned();
    let quoted = |text: &str| match aspect {
        Aspect::Command => format!("{:?}", command(text)),
        _ => format!("{text:?}"),
    };
    match (before, now) {
        (Some(before), Some(now)) if before == now => {
            format!("{what} changed in a part that is not shown")
        }
        (Some(before), Some(now)) => {
            format!("{what} changed from {} to {}", quoted(before), quoted(now))
        }
        (None, Some("")) => format!("{what} is new"),
        (None, Some(now)) => format!("{what} is new: {}", quoted(now)),
        (Some(""), None) => format!("{what} is gone"),
        (Some(before), None) => format!("{what} is gone, it was {}", quoted(before)),
        (None, None) => format!("{what} changed"),
    }
}

fn subject(aspect: &Aspect) -> String {
    match aspect {
        Aspect::Source => "base image".to_owned(),
        Aspect::SourceDigest => "digest of the base image".to_owned(),
        Aspect::Attribute(name) => format!("source attribute {name}"),
        Aspect::Command => "command".to_owned(),
        Aspect::Variable(name) => format!("environment variable {name}"),
        Aspect::Directory => "working directory".to_owned(),
        Aspect::User => "user".to_owned(),
        Aspect::Mount(path) => format!("mount at {path}"),
        Aspect::Secret(id) => format!("secret {id} in the environment"),
        Aspect::Network => "network".to_owned(),
        Aspect::Security => "security mode".to_owned(),
        Aspect::Hostname => "host name".to_owned(),
        Aspect::Host(name) => format!("extra host {name}"),
        Aspect::Limit(name) => format!("limit {name}"),
        Aspect::Device(name) => format!("device {name}"),
        Aspect::Setting(name) => name.clone(),
        Aspect::Action(number) => numbered("file action", *number),
        Aspect::Owner(number) => numbered("owner (chown)", *number),
        Aspect::Mode(number) => numbered("mode (chmod)", *number),
        Aspect::Options(number) => numbered("options", *number),
        Aspect::Platform => "platform".to_owned(),
    }
}

/// Most steps have one file action.
fn numbered(what: &str, number: usize) -> String {
    match number {
        0 => what.to_owned(),
        number => format!("{what} of action {}", number + 1),
    }
}

fn files(from: &str, changes: &FileChanges) -> String {
    match changes {
        FileChanges::Yes { first, others } => {
            let named: Vec<String> = first.iter().map(file).collect();
            let others = match others {
                0 => String::new(),
                1 => " and 1 other".to_owned(),
                others => format!(" and {others} others"),
            };
            format!("{}{others}, from {from}", named.join(", "))
        }
        FileChanges::No { paths } => {
            let below = match paths.as_slice() {
                [] => String::new(),
                paths => format!(" below {}", paths.join(", ")),
            };
            format!(
                "files{below} changed, from {from}; the earlier ones are not here any more to tell which"
            )
        }
    }
}

fn file(change: &FileChange) -> String {
    match change.what.as_slice() {
        [what] if what == "added" || what == "removed" => format!("{} {what}", change.path),
        what => format!("{} changed ({})", change.path, what.join(", ")),
    }
}

fn order(now: Option<&str>, before: Option<&str>, presence: Presence) -> String {
    let what = |step: Option<&str>| match step {
        Some(step) => format!("after {step}"),
        None => "on nothing".to_owned(),
    };
    let gone = match presence {
        Presence::Here => "",
        Presence::Removed => ", which is gone",
    };
    format!(
        "the order changed: it comes {}, it came {}{gone}",
        what(now),
        what(before)
    )
}
