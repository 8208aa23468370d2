//! Any text as a word, in every way of reading words: no panic, and splitting fails exactly where expanding does.
#![no_main]

use kiln_dockerfile::shell::{Escapes, Lexer, Quotes, Unset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (flags, text) = input;
    let lexer = Lexer {
        escape: if flags & 1 == 0 { '\\' } else { '`' },
        escapes: if flags & 2 == 0 {
            Escapes::Remove
        } else {
            Escapes::Keep
        },
        unset: if flags & 4 == 0 {
            Unset::Empty
        } else {
            Unset::Keep
        },
        quotes: match flags >> 3 & 3 {
            0 => Quotes::Remove,
            1 => Quotes::Keep,
            _ => Quotes::Literal,
        },
    };
    let variables = [
        "A=a*b/c?d".to_owned(),
        "B=".to_owned(),
        "C=\u{e9} x".to_owned(),
    ];
    let expanded = lexer.expand(text, variables.as_slice());
    let words = lexer.words(text, variables.as_slice());
    assert_eq!(expanded.is_ok(), words.is_ok());
});
