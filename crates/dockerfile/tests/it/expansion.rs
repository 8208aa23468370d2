//! Word expansion.

use kiln_dockerfile::shell::{Escapes, Lexer, NoVariables, Quotes, Unset};

fn variables() -> Vec<String> {
    [
        "V=value",
        "E=",
        "P=/usr/local/bin",
        "F=a.tar.gz",
        "S=a*b?c",
        "U=ünïcode",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn expand(lexer: Lexer, text: &str) -> String {
    match lexer.expand(text, variables().as_slice()) {
        Ok(expansion) => expansion.text,
        Err(error) => format!("error: {}", error.kind),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(expand(Lexer::new('\\'), text), *expected, "{text}");
    }
}

#[test]
fn plain() {
    check(&[
        ("", ""),
        ("a b  c", "a b  c"),
        ("$V", "value"),
        ("${V}", "value"),
        ("x${V}y$V-$V", "xvalueyvalue-value"),
        ("$Vx", ""),
        ("$N", ""),
        ("${N}", ""),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$.x", "$.x"),
        ("$1x", "x"),
        ("$$V", "V"),
        ("$U${U}", "ünïcodeünïcode"),
        ("<$V", "<value"),
        ("<<  $V", "<<  value"),
    ]);
}

#[test]
fn quotes_and_escapes() {
    check(&[
        ("'$V'", "$V"),
        ("\"$V\"", "value"),
        ("\"a 'b' $V\"", "a 'b' value"),
        ("'a\"b'", "a\"b"),
        ("\\$V", "$V"),
        ("\\${V}", "${V}"),
        ("\"\\$V\"", "$V"),
        ("\"\\a\\\"\\\\\"", "\\a\"\\"),
        ("a\\ b\\\\", "a b\\"),
        ("end\\", "end"),
        ("'it''s'", "its"),
        ("'a\\'", "a\\"),
        (
            "'",
            "error: unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"a",
            "error: unexpected end of statement while looking for matching double-quote",
        ),
        (
            "\"a\\",
            "error: unexpected end of statement while looking for matching double-quote",
        ),
    ]);
    let backtick = |text: &str| expand(Lexer::new('`'), text);
    assert_eq!(backtick("C:\\a`$V\\$V"), "C:\\a$V\\value");
}

#[test]
fn defaults_and_alternatives() {
    check(&[
        ("${V-w} ${E-w} ${N-w}", "value  w"),
        ("${V:-w} ${E:-w} ${N:-w}", "value w w"),
        ("${V+w} ${E+w} ${N+w}", "w w "),
        ("${V:+w} ${E:+w} ${N:+w}", "w  "),
        ("${N:-a b}", "a b"),
        ("${N:-$V}", "value"),
        ("${N:-${M:-${V}}}", "value"),
        ("${N:-'a}b'}", "a}b"),
        ("${N:-a\\}b}", "a}b"),
        ("\"${N:-a}\"", "a"),
        ("${N:-}", ""),
    ]);
}

#[test]
fn required_variables() {
    check(&[
        ("${V?m}${V:?m}${E?m}", "valuevalue"),
        ("${N?}", "error: N: is not allowed to be unset"),
        ("${N:?}", "error: N: is not allowed to be unset"),
        ("${E:?}", "error: E: is not allowed to be empty"),
        ("${N?set $V}", "error: N: set value"),
        ("${E:?m n}", "error: E: m n"),
    ]);
}

#[test]
fn cutting() {
    check(&[
        ("${F#*.}", "tar.gz"),
        ("${F##*.}", "gz"),
        ("${F%.*}", "a.tar"),
        ("${F%%.*}", "a"),
        ("${P##*/}", "bin"),
        ("${P%/*}", "/usr/local"),
        ("${P#/???/}", "local/bin"),
        ("${F#b}", "a.tar.gz"),
        ("${F%$E}", "a.tar.gz"),
        ("${S#a\\*}", "b?c"),
        ("${S%\\?c}", "a*b"),
        ("${U#?}", "nïcode"),
        ("${U%%ï*}", "ün"),
        ("${N#a}", ""),
        ("${F#a.tar.gz}", ""),
        (
            "${F:#a}",
            "error: unsupported modifier (:#) in substitution",
        ),
        (
            "${F#\\a}",
            "error: invalid pattern (\\a) in substitution: invalid escape '\\a'",
        ),
    ]);
}

#[test]
fn replacing() {
    check(&[
        ("${P/local/x}", "/usr/x/bin"),
        ("${P/\\//_}", "_usr/local/bin"),
        ("${P//\\//_}", "_usr_local_bin"),
        ("${F//./}", "atargz"),
        ("${F/a*r/$V}", "value.gz"),
        ("${F//?/x}", "xxxxxxxx"),
        ("${S//\\*/x}", "axb?c"),
        ("${V/x/y}", "value"),
        ("${N/x/y}", ""),
        // A replacement is text, not a template.
        ("${V/a/'$1'}${V//a/'$1'}", "v$1luev$1lue"),
        ("${V/a", "error: syntax error: missing '/' in ${}"),
        ("${V/a/b", "error: syntax error: missing '}'"),
    ]);
}

#[test]
fn malformed_substitutions() {
    check(&[
        ("${", "error: syntax error: missing '}'"),
        ("${}", "error: syntax error: bad substitution"),
        ("${{V}}", "error: syntax error: bad substitution"),
        ("${:-a}", "error: syntax error: bad substitution"),
        ("${V:-a", "error: syntax error: missing '}'"),
        ("${V:-'a}", "error: syntax error: missing '}'"),
        ("${V!a}", "error: unsupported modifier (!) in substitution"),
        ("${V:x}", "error: unsupported modifier (:x) in substitution"),
        (
            "${V",
            "error: unsupported modifier (\u{fffd}) in substitution",
        ),
    ]);
    let error = Lexer::new('\\').expand("a ${}", &NoVariables).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to process \"a ${}\": syntax error: bad substitution"
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "${N:-".repeat(depth), "}".repeat(depth));
    assert_eq!(expand(Lexer::new('\\'), &nested(100)), "");
    let error = expand(Lexer::new('\\'), &nested(10_000));
    assert_eq!(
        error,
        "error: syntax error: substitutions nested more than 128 deep"
    );
}

#[test]
fn words() {
    let words = |text: &str| {
        Lexer::new('\\')
            .words(text, variables().as_slice())
            .unwrap()
    };
    assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
    assert_eq!(words("'a b' \"c $V\" d\\ e"), ["a b", "c value", "d e"]);
    assert_eq!(words("x${N:-a b}y"), ["xa", "by"]);
    assert_eq!(words("\"${N:-a b}\"y"), ["a by"]);
    assert_eq!(words("'' \"\" $E"), [""; 0]);
    assert_eq!(words("a << b c"), ["a", "<< b", "c"]);
}

#[test]
fn lookups_are_remembered() {
    let expansion = Lexer::new('\\')
        .expand(
            "$V ${N:-$E} ${M+$V} '$Q' \\$R ${V:-$K}",
            variables().as_slice(),
        )
        .unwrap();
    assert_eq!(Vec::from_iter(&expansion.matched), ["E", "V"]);
    assert_eq!(Vec::from_iter(&expansion.unmatched), ["K", "M", "N"]);
}

#[test]
fn unset_variables_may_stay() {
    let lexer = Lexer {
        unset: Unset::Keep,
        ..Lexer::new('\\')
    };
    for text in [
        "$N",
        "${N}",
        "${N:-a}",
        "${N+a}",
        "${N?a}",
        "${N#a}",
        "${N%%a}",
        "${N/a/b}",
        "${N//a/b}",
    ] {
        assert_eq!(expand(lexer, text), text);
    }
    assert_eq!(expand(lexer, "$V ${V:+a} ${E:-b}"), "value a b");
}

#[test]
fn quotes_and_escapes_may_stay() {
    let keep = Lexer {
        quotes: Quotes::Keep,
        ..Lexer::new('\\')
    };
    assert_eq!(expand(keep, "'$V' \"$V\" \\a"), "'$V' \"value\" a");
    let both = Lexer {
        escapes: Escapes::Keep,
        ..keep
    };
    assert_eq!(expand(both, "\\$V \"\\$V\""), "\\$V \"\\$V\"");
    assert_eq!(
        expand(Lexer::for_heredocs(), "it's \"$V\" \\$V"),
        "it's \"value\" $V"
    );
}

#[test]
fn names_and_values_as_variables() {
    let pairs = [
        ("A".to_owned(), "1".to_owned()),
        ("A".to_owned(), "2".to_owned()),
    ];
    assert_eq!(
        Lexer::new('\\')
            .expand("$A", pairs.as_slice())
            .unwrap()
            .text,
        "2"
    );
    let assignments = ["A=1=2".to_owned(), "B".to_owned()];
    assert_eq!(
        Lexer::new('\\')
            .expand("$A${B-x}", assignments.as_slice())
            .unwrap()
            .text,
        "1=2"
    );
}
