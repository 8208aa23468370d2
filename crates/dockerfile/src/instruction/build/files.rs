//! `ADD` and `COPY`.

use super::{Flags, Holds, Result};
use crate::heredoc::{self, HeredocWord};
use crate::instruction::{Add, Copy, InstructionError, SourceContent, Sources};
use crate::parse::Statement;

pub(super) fn add(statement: &Statement) -> Result<Add> {
    operands(statement, "ADD")?;
    let flags = Flags::read(
        &statement.flags,
        &[
            ("chown", Holds::Value),
            ("chmod", Holds::Value),
            ("link", Holds::Bool),
            ("keep-git-dir", Holds::Bool),
            ("checksum", Holds::Value),
            ("unpack", Holds::Bool),
            ("exclude", Holds::Values),
        ],
    )?;
    Ok(Add {
        sources: sources(statement, "ADD")?,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.bool("link").unwrap_or_default(),
        exclude: flags.values("exclude").map(str::to_owned).collect(),
        keep_git_dir: flags.bool("keep-git-dir"),
        checksum: flags.text("checksum"),
        unpack: flags.bool("unpack"),
    })
}

pub(super) fn copy(statement: &Statement) -> Result<Copy> {
    operands(statement, "COPY")?;
    let flags = Flags::read(
        &statement.flags,
        &[
            ("chown", Holds::Value),
            ("from", Holds::Value),
            ("chmod", Holds::Value),
            ("link", Holds::Bool),
            ("exclude", Holds::Values),
            ("parents", Holds::Bool),
        ],
    )?;
    Ok(Copy {
        sources: sources(statement, "COPY")?,
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.bool("link").unwrap_or_default(),
        exclude: flags.values("exclude").map(str::to_owned).collect(),
        parents: flags.bool("parents").unwrap_or_default(),
    })
}

/// The sources and the destination.
fn operands<'a>(
    statement: &'a Statement,
    keyword: &'static str,
) -> Result<(&'a [String], &'a String)> {
    match statement.args.split_last() {
        Some((destination, sources)) if !sources.is_empty() => Ok((sources, destination)),
        _ => Err(InstructionError::NoDestination { keyword }),
    }
}

fn sources(statement: &Statement, keyword: &'static str) -> Result<Sources> {
    let (words, destination) = operands(statement, keyword)?;
    if let Ok(Some(_)) = heredoc::parse_word(destination) {
        return Err(InstructionError::HeredocDestination { keyword });
    }
    let mut sources = Sources {
        destination: destination.clone(),
        ..Sources::default()
    };
    for word in words {
        match heredoc::parse_word(word) {
            Ok(Some(heredoc)) => sources.contents.push(content(statement, heredoc)),
            Ok(None) | Err(_) => sources.paths.push(word.clone()),
        }
    }
    Ok(sources)
}

fn content(statement: &Statement, word: HeredocWord) -> SourceContent {
    // Of several heredocs with one name the last one fills all of them.
    let found = statement
        .heredocs
        .iter()
        .rfind(|heredoc| heredoc.word.name == word.name);
    let written = found
        .map(|heredoc| heredoc.content.as_str())
        .unwrap_or_default();
    let data = if word.chomp {
        heredoc::chomp(written)
    } else {
        written.to_owned()
    };
    SourceContent {
        path: word.name,
        data,
        expand: word.expand,
    }
}
