//! Errors point at lines.

use crate::lowering::Build;
use kiln_dockerfile::{Known, Lowering, Options, Source, lower};

/// The lines which the error of lowering `text` is about.
fn lines(text: &str) -> Vec<(u32, u32)> {
    let build = Build::new(text);
    let source = Source::parse("Dockerfile", build.text.clone().into(), None).unwrap();
    let mut known = Known::new();
    loop {
        match lower(&source, &Options::from_attrs(&build.attrs).unwrap(), &known) {
            Ok(Lowering::Needs(questions)) => build.learn(&mut known, questions),
            Ok(Lowering::Done(_)) => panic!("lowered\n{text}"),
            Err(error) => {
                let first = error.locations.first().map(|location| location.first);
                let excerpt = error.excerpt("Dockerfile", text.as_bytes());
                assert_eq!(excerpt.map(|it| it.line), first, "{error}");
                return error
                    .locations
                    .iter()
                    .map(|location| (location.first, location.last))
                    .collect();
            }
        }
    }
}

#[test]
fn errors_know_their_instruction() {
    for (text, expected) in [
        ("FROM scratch\nCOPY --chmod=9 a \\\n b\n", (2, 3)),
        (
            "FROM scratch\nRUN x\nRUN --mount=type=tmpfs,target=/ x\n",
            (3, 3),
        ),
        ("FROM scratch\nRUN --mount=type=foo,target=/x x\n", (2, 2)),
        ("FROM scratch\nENV A=${B?no}\n", (2, 2)),
        ("FROM scratch\nEXPOSE 1-0\n", (2, 2)),
        ("FROM scratch\nSTOPSIGNAL X\n", (2, 2)),
        ("ARG A\nFROM scratch\nFROM $A\n", (3, 3)),
        ("FROM scratch\nFROM --platform=a/b/c/d scratch\n", (2, 2)),
        ("ARG A=${B:?gone}\nFROM scratch\n", (1, 1)),
        ("FROM nowhere\n", (1, 1)),
        ("FROM scratch\nCOPY --from=nowhere a b\n", (2, 2)),
        (
            "FROM scratch\nRUN --mount=from=nowhere,target=/x y\n",
            (2, 2),
        ),
        ("FROM scratch\nCOPY --from=3 a b\n", (2, 2)),
        ("FROM scratch\nADD https://h/r.git?x=1 b\n", (2, 2)),
    ] {
        assert_eq!(lines(text), [expected], "{text}");
    }
}

#[test]
fn a_cycle_shows_every_step_of_it() {
    let text = "FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\nCOPY --from=a x y\n";
    assert_eq!(lines(text), [(2, 2), (4, 4)]);
}
