//! Brings a command line that upstream's `buildctl` takes into the one form that clap takes.
//!
//! Upstream's parser is looser: long flags may have one dash, switches may have a value, the last
//! of several values counts, words that nobody wants are ignored, and `h` and `help` stand for
//! `--help` behind any command.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, Id};

use crate::fields;

/// The command line `given` in clap's form. `root` must be built (`Command::build`), so that its
/// commands know the flags that all of them have. What is wrong with it stays for clap to tell.
pub(super) fn canonical(
    given: impl IntoIterator<Item = OsString>,
    root: &Command,
) -> Vec<OsString> {
    let mut given = given.into_iter();
    let mut reader = Reader {
        command: root,
        words: given.next().map(Word::fixed).into_iter().collect(),
        operands: Vec::new(),
        wants_help: false,
    };
    while let Some(word) = given.next() {
        if word == "--" {
            given.by_ref().for_each(|word| reader.operand(word));
        } else if let Some(flag) = Flag::read(&word) {
            reader.flag(flag, &mut given);
        } else if reader.command.has_subcommands() {
            reader.command(word, &mut given);
        } else if is_help(&word) && reader.operands.is_empty() {
            reader.wants_help = true;
        } else {
            reader.operand(word);
        }
    }
    reader.finish()
}

/// `h` or `help` in a command's place.
fn is_help(word: &OsStr) -> bool {
    word == "h" || word == "help"
}

/// A word of the result, and the flag that it sets.
struct Word {
    text: OsString,
    flag: Option<Id>,
}

impl Word {
    fn fixed(text: OsString) -> Self {
        Self { text, flag: None }
    }
}

struct Reader<'a> {
    /// The command whose words come next.
    command: &'a Command,
    words: Vec<Word>,
    operands: Vec<OsString>,
    wants_help: bool,
}

impl Reader<'_> {
    /// The next command below this one, which has some.
    fn command(&mut self, word: OsString, given: &mut impl Iterator<Item = OsString>) {
        if is_help(&word) {
            self.wants_help = true;
            return;
        }
        let found = self.command.find_subcommand(&word);
        self.words.push(Word::fixed(word));
        match found {
            Some(command) => self.command = command,
            // Whatever follows cannot be understood; clap stops here, too.
            None => self.words.extend(given.map(Word::fixed)),
        }
    }

    /// A word that belongs to no flag. Those that the command does not take are dropped.
    fn operand(&mut self, word: OsString) {
        if self.operands.len() < self.command.get_positionals().count() {
            self.operands.push(word);
        }
    }

    /// A flag. Unless it may be repeated, it replaces what was said before.
    fn flag(&mut self, flag: Flag, given: &mut impl Iterator<Item = OsString>) {
        let Some((arg, long)) = find(self.command, &flag.name) else {
            return self.words.push(Word::fixed(flag.unknown()));
        };
        let text = if arg.get_action().takes_values() {
            // The next word is the value, whatever it looks like.
            let value = flag.value.or_else(|| given.next());
            with_value(arg, long, value)
        } else {
            switch(long, flag.value)
        };
        let id = arg.get_id();
        if !matches!(arg.get_action(), ArgAction::Append) {
            self.words.retain(|word| word.flag.as_ref() != Some(id));
        }
        let flag = Some(id.clone());
        self.words.extend(text.map(|text| Word { text, flag }));
    }

    fn finish(self) -> Vec<OsString> {
        let mut words: Vec<_> = self.words.into_iter().map(|word| word.text).collect();
        // A command that only has commands below it has nothing to do but to name them.
        if self.wants_help || self.command.has_subcommands() {
            words.push("--help".into());
        }
        if !self.operands.is_empty() {
            words.push("--".into());
            words.extend(self.operands);
        }
        words
    }
}

/// A flag with its value. Upstream has texts where we have paths and choices, and takes empty ones
/// as not given.
fn with_value(arg: &Arg, long: &OsStr, value: Option<OsString>) -> Option<OsString> {
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let is_text = is_path || !arg.get_possible_values().is_empty();
    let is_unset = is_text && value.as_ref().is_some_and(|value| value.is_empty());
    (!is_unset).then(|| spelled(long, value.as_deref()))
}

/// A flag that is on or off. Clap only knows how to turn it on, and refuses a wrong value.
fn switch(long: &OsStr, value: Option<OsString>) -> Option<OsString> {
    let value = value.filter(|value| !value.is_empty());
    let is_on = match &value {
        None => Some(true),
        Some(value) => value.to_str().and_then(fields::boolean),
    };
    match is_on {
        Some(true) => Some(spelled(long, None)),
        Some(false) => None,
        None => Some(spelled(long, value.as_deref())),
    }
}

/// A word that begins with a dash, taken apart.
struct Flag {
    name: OsString,
    value: Option<OsString>,
}

impl Flag {
    /// `None` if the word is no flag. `-` and negative numbers are none.
    fn read(word: &OsStr) -> Option<Self> {
        let bytes = word.as_bytes();
        let bare = bytes.strip_prefix(b"-")?;
        let bare = match bare.strip_prefix(b"-") {
            Some(bare) => bare,
            None if bare.first().is_some_and(u8::is_ascii_alphabetic) => bare,
            None => return None,
        };
        let text = |bytes| OsStr::from_bytes(bytes).to_owned();
        Some(match bare.iter().position(|byte| *byte == b'=') {
            None => Self {
                name: text(bare),
                value: None,
            },
            Some(at) => Self {
                name: text(&bare[..at]),
                value: Some(text(&bare[at + 1..])),
            },
        })
    }

    /// How clap is to see a flag that does not exist: as a long one if it may be meant so, because
    /// only for long ones clap knows what may be meant.
    fn unknown(&self) -> OsString {
        if self.name.len() == 1 {
            let mut word = OsString::from("-");
            word.push(&self.name);
            return word;
        }
        spelled(&self.name, self.value.as_deref())
    }
}

/// A flag of a command, by its long or its short name, and the long one.
fn find<'a>(command: &'a Command, name: &OsStr) -> Option<(&'a Arg, &'a OsStr)> {
    let name = name.to_str()?;
    let mut letters = name.chars();
    let short = letters.next().filter(|_| letters.next().is_none());
    let mut args = command.get_arguments();
    args.find_map(|arg| {
        let long = arg.get_long()?;
        let is_meant = long == name || (short.is_some() && arg.get_short() == short);
        is_meant.then(|| (arg, OsStr::new(long)))
    })
}

fn spelled(long: &OsStr, value: Option<&OsStr>) -> OsString {
    let mut word = OsString::from("--");
    word.push(long);
    if let Some(value) = value {
        word.push("=");
        word.push(value);
    }
    word
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use clap::{CommandFactory as _, Parser as _};

    use super::super::Arguments;
    use super::*;

    fn read(line: &str) -> Vec<OsString> {
        let mut command = Arguments::command();
        command.build();
        let given = line.split_whitespace().map(|word| match word {
            "''" => OsString::new(),
            word => word.into(),
        });
        canonical(std::iter::once("buildctl".into()).chain(given), &command)
    }

    #[test]
    fn what_upstream_takes() {
        let check = |line: &str, expected: &str| {
            let words = read(line);
            let words = words[1..].iter().map(|word| word.to_str().expect("text"));
            assert_eq!(words.collect::<Vec<_>>().join(" "), expected, "{line}");
        };
        // The last value counts, on whichever side of the command.
        check("--addr a --addr b du", "--addr=b du");
        check("--addr a du --addr=b", "du --addr=b");
        check(
            "build --progress=plain --progress quiet",
            "build --progress=quiet",
        );
        check("build --opt a=b --opt c=d", "build --opt=a=b --opt=c=d");
        // Switches have values.
        check("build --no-cache=true", "build --no-cache");
        check("build --no-cache=", "build --no-cache");
        check("du -v=0", "du");
        check("--debug du --debug=F", "du");
        check("du --verbose=false --verbose=T", "du --verbose");
        check("du --verbose=maybe", "du --verbose=maybe");
        // One dash, two dashes.
        check("-addr X du -filter y", "--addr=X du --filter=y");
        check("-addr=X du --f y -f=z", "--addr=X du --filter=y --filter=z");
        check("build -output x -o y", "build --output=x --output=y");
        // Values look like anything.
        check("prune --keep-duration -1s", "prune --keep-duration=-1s");
        check("build --opt --frontend", "build --opt=--frontend");
        check("build --ref-file a --ref-file ''", "build");
        check("build --progress= --frontend ''", "build --frontend=");
        // Words that nobody wants.
        check("build . extra --no-cache", "build --no-cache");
        check("du -- --verbose", "du");
        check("debug get a b", "debug get -- a");
        check("debug dump-llb - --dot", "debug dump-llb --dot -- -");
        check("debug logs -- -a", "debug logs -- -a");
        // Help, and commands that only have commands.
        check("", "--help");
        check("--debug", "--debug --help");
        check("debug", "debug --help");
        check("h", "--help");
        check("help debug workers", "debug workers --help");
        check("debug h get", "debug get --help");
        check("du help", "du --help");
        check("debug get x help", "debug get -- x");
        check("-help=0 du", "du");
        check("-v", "--version --help");
        check("-version=true", "--version --help");
        // What is wrong is left to clap.
        check("build -progess x", "build --progess");
        check("du -vf", "du --vf");
        check("du -x=1", "du -x");
        check("nosuch -a b", "nosuch -a b --help");
        check("du --filter", "du --filter");
    }

    #[test]
    fn what_clap_says_to_it() {
        Arguments::command().debug_assert();
        let check = |line: &str, expected: ErrorKind, text: &str| {
            let error = Arguments::try_parse_from(read(line));
            let error = error.expect_err(line);
            assert_eq!(error.kind(), expected, "{line}");
            assert!(error.to_string().contains(text), "{line}: {error}");
        };
        check("", ErrorKind::DisplayHelp, "Usage: buildctl");
        check("debug", ErrorKind::DisplayHelp, "Usage: buildctl debug");
        check("help du", ErrorKind::DisplayHelp, "Usage: buildctl du");
        check("-v", ErrorKind::DisplayVersion, "buildctl");
        check("-V", ErrorKind::DisplayVersion, "buildctl");
        check("build -v", ErrorKind::UnknownArgument, "'-v'");
        check(
            "build -progess x",
            ErrorKind::UnknownArgument,
            "'--progress'",
        );
        check("nosuch -a", ErrorKind::InvalidSubcommand, "nosuch");
        check("help nosuch", ErrorKind::InvalidSubcommand, "nosuch");
        check("du --filter", ErrorKind::InvalidValue, "--filter");
        check("--addr", ErrorKind::InvalidValue, "--addr");
        check("du --verbose=maybe", ErrorKind::TooManyValues, "maybe");
    }
}
