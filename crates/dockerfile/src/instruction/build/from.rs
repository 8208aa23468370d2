//! `FROM`.

use super::{Flags, Holds, Result, description};
use crate::instruction::InstructionError;
use crate::parse::{Alias, Stage, Statement};

pub(super) fn from(statement: Statement) -> Result<Stage> {
    let (base, alias) = match statement.args.as_slice() {
        [base] => (base.clone(), None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (
            base.clone(),
            Some(Alias {
                keyword: keyword.clone(),
                name: name.clone(),
            }),
        ),
        _ => return Err(InstructionError::FromArguments),
    };
    let name = alias.as_ref().map(|alias| alias.name.to_lowercase());
    if let (Some(name), Some(alias)) = (&name, &alias)
        && !is_stage_name(name)
    {
        return Err(InstructionError::StageName {
            name: alias.name.clone(),
        });
    }
    let flags = Flags::read(&statement.flags, &[("platform", Holds::Value)])?;
    Ok(Stage {
        description: name
            .as_deref()
            .and_then(|name| description(&statement.comments, name)),
        name,
        base,
        platform: Some(flags.text("platform")).filter(|platform| !platform.is_empty()),
        commands: Vec::new(),
        source: statement.text.trim().to_owned(),
        keyword: statement.keyword,
        alias,
        location: statement.location,
        comments: statement.comments,
    })
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'))
}
