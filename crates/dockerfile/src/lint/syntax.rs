//! The rules that need nothing but the text.

use std::collections::BTreeSet;

use super::{Linter, rules};
use crate::instruction::{ArgDefinition, Command};
use crate::parse::{Dockerfile, Stage};
use crate::position::Location;

/// Names with a meaning of their own in `FROM` and `COPY --from`.
const RESERVED_STAGE_NAMES: [&str; 2] = ["context", "scratch"];

/// Applies the rules that need nothing but the text.
pub fn check_syntax(file: &Dockerfile, linter: &mut Linter) {
    check_instructions(file, linter);
    check_stage_names(&file.stages, linter);
    check_casing(&file.stages, linter);
}

/// Applies those that look at one instruction at a time.
pub(crate) fn check_instructions(file: &Dockerfile, linter: &mut Linter) {
    for &location in &file.empty_continuations {
        linter.report(rules::no_empty_continuation(), location, &[]);
    }
    for arg in &file.meta_args {
        check_arg_description(&arg.value.args, arg.location, &arg.comments, linter);
    }
    for stage in &file.stages {
        check_from(stage, linter);
        for command in &stage.commands {
            match &command.value {
                Command::Maintainer(_) => {
                    linter.report(
                        rules::maintainer_deprecated(),
                        command.location,
                        &command.comments,
                    );
                }
                Command::Arg(arg) => {
                    check_arg_description(&arg.args, command.location, &command.comments, linter)
                }
                _ => {}
            }
        }
    }
}

fn check_from(stage: &Stage, linter: &mut Linter) {
    let mut report = |finding| linter.report(finding, stage.location, &stage.comments);
    if let Some(alias) = &stage.alias {
        if alias.name != alias.name.to_lowercase() {
            report(rules::stage_name_casing(&alias.name));
        }
        // A keyword that is neither in upper nor in lower case is another rule's matter.
        if let Some(casing) = Casing::of(&stage.keyword)
            && !casing.has(&alias.keyword)
        {
            report(rules::from_as_casing(&stage.keyword, &alias.keyword));
        }
    }
    if let Some(name) = &stage.name
        && !starts_description(&stage.comments, [name.as_str()])
    {
        report(rules::invalid_definition_description("FROM", name));
    }
}

fn check_arg_description(
    args: &[ArgDefinition],
    location: Location,
    comments: &[String],
    linter: &mut Linter,
) {
    if starts_description(comments, args.iter().map(|arg| arg.name.as_str())) {
        return;
    }
    let example = match args {
        [arg] => arg.name.as_str(),
        _ => "<arg_key>",
    };
    linter.report(
        rules::invalid_definition_description("ARG", example),
        location,
        comments,
    );
}

/// Whether the last comment above a definition starts with one of the names defined. Without comments there is nothing
/// to say.
fn starts_description<'a>(comments: &[String], names: impl IntoIterator<Item = &'a str>) -> bool {
    let Some(first_word) = comments
        .last()
        .and_then(|comment| comment.split(' ').next())
    else {
        return true;
    };
    names.into_iter().any(|name| name == first_word)
}

fn check_stage_names(stages: &[Stage], linter: &mut Linter) {
    let mut names = BTreeSet::new();
    for stage in stages {
        let Some(name) = stage.name.as_deref() else {
            continue;
        };
        if RESERVED_STAGE_NAMES.contains(&name) {
            linter.report(rules::reserved_stage_name(name), stage.location, &[]);
        }
        if !names.insert(name) {
            linter.report(rules::duplicate_stage_name(name), stage.location, &[]);
        }
    }
}

/// All keywords should be in the casing of most; of as many in each, upper case wins.
fn check_casing(stages: &[Stage], linter: &mut Linter) {
    let keywords = || {
        stages.iter().flat_map(|stage| {
            let commands = stage
                .commands
                .iter()
                .map(|command| (command.keyword.as_str(), command.location));
            std::iter::once((stage.keyword.as_str(), stage.location)).chain(commands)
        })
    };
    let count = |casing| {
        keywords()
            .filter(|(keyword, _)| Casing::of(keyword) == Some(casing))
            .count()
    };
    let majority = if count(Casing::Lower) > count(Casing::Upper) {
        Casing::Lower
    } else {
        Casing::Upper
    };
    for (keyword, location) in keywords() {
        if !majority.has(keyword) {
            linter.report(
                rules::consistent_instruction_casing(keyword, majority.name()),
                location,
                &[],
            );
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Casing {
    Lower,
    Upper,
}

impl Casing {
    /// The casing of a keyword, unless it is mixed.
    fn of(keyword: &str) -> Option<Self> {
        [Self::Lower, Self::Upper]
            .into_iter()
            .find(|casing| casing.has(keyword))
    }

    fn has(self, keyword: &str) -> bool {
        match self {
            Self::Lower => keyword == keyword.to_lowercase(),
            Self::Upper => keyword == keyword.to_uppercase(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lower => "lowercase",
            Self::Upper => "uppercase",
        }
    }
}
