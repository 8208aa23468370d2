//! The typed form of every instruction.

use std::time::Duration;

use kiln_dockerfile::instruction::*;
use kiln_dockerfile::{Location, parse, parse_trigger};

#[track_caller]
fn one(text: &str) -> Command {
    let file = parse(format!("FROM base\n{text}\n").as_bytes()).unwrap();
    let [command] = <[_; 1]>::try_from(file.stages[0].commands.clone()).unwrap();
    command.value
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pair(key: &str, value: &str, delimiter: Delimiter) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
        delimiter,
    }
}

fn shell_form(args: &[&str]) -> CommandLine {
    CommandLine {
        args: texts(args),
        form: Form::Shell,
        files: Vec::new(),
    }
}

fn exec_form(args: &[&str]) -> CommandLine {
    CommandLine {
        args: texts(args),
        form: Form::Exec,
        files: Vec::new(),
    }
}

#[test]
fn from() {
    let stage = |text: &str| parse(text.as_bytes()).unwrap().stages.remove(0);

    let plain = stage("FROM alpine:3");
    assert_eq!(
        (plain.base.as_str(), plain.name, plain.platform),
        ("alpine:3", None, None)
    );

    let full = stage(
        "# Builder compiles things\n# builder compiles\nfrom --platform=$BUILDPLATFORM a@sha256:1 As Builder",
    );
    assert_eq!(full.base, "a@sha256:1");
    assert_eq!(full.name.as_deref(), Some("builder"));
    assert_eq!(full.platform.as_deref(), Some("$BUILDPLATFORM"));
    assert_eq!(full.keyword, "from");
    let alias = full.alias.unwrap();
    assert_eq!(
        (alias.keyword.as_str(), alias.name.as_str()),
        ("As", "Builder")
    );
    assert_eq!(full.description.as_deref(), Some("compiles"));

    assert_eq!(stage("FROM --platform= a").platform, None);
}

#[test]
fn add() {
    let flags = "--chown=1:2 --chmod=u+x --link --keep-git-dir=false --checksum=sha256:1 --unpack --exclude=a --exclude=*.b";
    let expected = Add {
        sources: Sources {
            paths: texts(&["a", "https://b/c"]),
            contents: vec![],
            destination: "/d/".to_owned(),
        },
        chown: "1:2".to_owned(),
        chmod: "u+x".to_owned(),
        link: true,
        exclude: texts(&["a", "*.b"]),
        keep_git_dir: Some(false),
        checksum: "sha256:1".to_owned(),
        unpack: Some(true),
    };
    assert_eq!(
        one(&format!("ADD {flags} a https://b/c /d/")),
        Command::Add(expected)
    );
}

#[test]
fn copy() {
    let expected = Copy {
        sources: Sources {
            paths: texts(&["a b"]),
            contents: vec![],
            destination: "c".to_owned(),
        },
        from: "build".to_owned(),
        parents: true,
        ..Copy::default()
    };
    assert_eq!(
        one("COPY --from=build --parents --link=false [\"a b\", \"c\"]"),
        Command::Copy(expected)
    );
    // What is not JSON is words.
    let Command::Copy(copy) = one("COPY [a b] c") else {
        panic!()
    };
    assert_eq!(copy.sources.paths, ["[a", "b]"]);
}

#[test]
fn flags_lose_their_quotes_and_escapes() {
    let Command::Copy(copy) = one(r#"COPY --from="a b" --chown='c d' --chmod=\6\4\4 -- --e f"#)
    else {
        panic!()
    };
    assert_eq!(
        (copy.from.as_str(), copy.chown.as_str(), copy.chmod.as_str()),
        ("a b", "c d", "644")
    );
    assert_eq!(copy.sources.paths, ["--e"]);
}

#[test]
fn run() {
    let Command::Run(run) =
        one("RUN --network=host --security=insecure --device=v/c=d,required  a  'b c' | d")
    else {
        panic!()
    };
    assert_eq!(run.command, shell_form(&["a  'b c' | d"]));
    assert_eq!(
        (run.network, run.security),
        (Network::Host, Security::Insecure)
    );
    assert_eq!(
        run.devices,
        [Device {
            name: "v/c=d".to_owned(),
            required: true
        }]
    );

    let Command::Run(run) = one(r#"RUN ["a", "b \" \u0041"]"#) else {
        panic!()
    };
    assert_eq!(run.command, exec_form(&["a", "b \" A"]));
    assert_eq!(
        (run.network, run.security),
        (Network::Default, Security::Sandbox)
    );
    // Single quotes are not JSON.
    let Command::Run(run) = one("RUN ['a']") else {
        panic!()
    };
    assert_eq!(run.command, shell_form(&["['a']"]));
}

#[test]
fn command_lines() {
    assert_eq!(
        one("CMD a b"),
        Command::Cmd(Cmd {
            command: shell_form(&["a b"])
        })
    );
    assert_eq!(
        one("CMD"),
        Command::Cmd(Cmd {
            command: shell_form(&[])
        })
    );
    assert_eq!(
        one("CMD []"),
        Command::Cmd(Cmd {
            command: exec_form(&[])
        })
    );
    assert_eq!(
        one("ENTRYPOINT [\"a\"]"),
        Command::Entrypoint(Entrypoint {
            command: exec_form(&["a"])
        })
    );
    assert_eq!(
        one("SHELL [\"a\", \"-c\"]"),
        Command::Shell(Shell {
            shell: texts(&["a", "-c"])
        })
    );
}

#[test]
fn names_and_values() {
    use Delimiter::{Equals, Space};
    let env = |text: &str| match one(text) {
        Command::Env(env) => env.variables,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        env("ENV A=b C= \"D e\"=f"),
        [
            pair("A", "b", Equals),
            pair("C", "", Equals),
            pair("\"D e\"", "f", Equals)
        ]
    );
    assert_eq!(
        env(r#"ENV A="b c" D='e f' G=h\ i"#),
        [
            pair("A", "\"b c\"", Equals),
            pair("D", "'e f'", Equals),
            pair("G", "h\\ i", Equals)
        ]
    );
    assert_eq!(env("ENV A   b = c  "), [pair("A", "b = c", Space)]);
    assert_eq!(
        one("LABEL a.b=c"),
        Command::Label(Label {
            labels: vec![pair("a.b", "c", Equals)]
        })
    );
}

#[test]
fn arg() {
    let Command::Arg(arg) = one("# A is first\n# B  second\nARG A B=\"x y\" C=") else {
        panic!()
    };
    let seen: Vec<_> = arg
        .args
        .iter()
        .map(|arg| {
            (
                arg.name.as_str(),
                arg.value.as_deref(),
                arg.description.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("A", None, Some("is first")),
            ("B", Some("\"x y\""), Some(" second")),
            ("C", Some(""), None)
        ]
    );
}

#[test]
fn expose_sorts_its_ports() {
    assert_eq!(
        one("EXPOSE 80/tcp $P 443"),
        Command::Expose(Expose {
            ports: texts(&["$P", "443", "80/tcp"])
        })
    );
}

#[test]
fn healthcheck() {
    let Command::Healthcheck(none) = one("HEALTHCHECK none") else {
        panic!()
    };
    assert_eq!(none.test, ["NONE"]);

    let Command::Healthcheck(check) =
        one("HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0 --retries=3 CMD a b")
    else {
        panic!()
    };
    assert_eq!(
        check,
        Healthcheck {
            test: texts(&["CMD-SHELL", "a b"]),
            interval: Duration::from_secs(90),
            timeout: Duration::from_millis(1500),
            retries: 3,
            ..Healthcheck::default()
        }
    );

    let Command::Healthcheck(check) = one("HEALTHCHECK --start-interval=.5h cmd [\"a\", \"b\"]")
    else {
        panic!()
    };
    assert_eq!(
        (check.test, check.start_interval),
        (texts(&["CMD", "a", "b"]), Duration::from_secs(1800))
    );
}

#[test]
fn whole_lines() {
    assert_eq!(
        one("MAINTAINER A <b@c>"),
        Command::Maintainer(Maintainer {
            name: "A <b@c>".to_owned()
        })
    );
    assert_eq!(
        one("STOPSIGNAL SIGTERM"),
        Command::Stopsignal(Stopsignal {
            signal: "SIGTERM".to_owned()
        })
    );
    assert_eq!(
        one("USER a:b"),
        Command::User(User {
            user: "a:b".to_owned()
        })
    );
    assert_eq!(
        one("WORKDIR /a b"),
        Command::Workdir(Workdir {
            path: "/a b".to_owned()
        })
    );
    assert_eq!(
        one("VOLUME /a /b"),
        Command::Volume(Volume {
            volumes: texts(&["/a", "/b"])
        })
    );
    assert_eq!(
        one("VOLUME [\" /a b \"]"),
        Command::Volume(Volume {
            volumes: texts(&["/a b"])
        })
    );
}

#[test]
fn onbuild_keeps_its_trigger_as_text() {
    let trigger = |text: &str| match one(text) {
        Command::Onbuild(onbuild) => onbuild.expression,
        other => panic!("{other:?}"),
    };
    assert_eq!(trigger("ONBUILD   RUN a \\\n  b"), "RUN a   b");
    let expression = trigger("onbuild RUN cat <<A <<-B\none\nA\n\ttwo\n\tB");
    assert_eq!(expression, "RUN cat <<A <<-B\none\nA\n\ttwo\nB");

    let location = Location::line(7);
    let fired = parse_trigger(&expression, location).unwrap();
    assert_eq!(fired.location, location);
    let Command::Run(run) = fired.value else {
        panic!()
    };
    let bodies: Vec<_> = run
        .command
        .files
        .iter()
        .map(|file| file.data.as_str())
        .collect();
    assert_eq!(bodies, ["one\n", "\ttwo\n"]);
}

#[test]
fn words_are_expanded_in_the_order_written() {
    let expand = |text: &str| {
        let mut seen = Vec::new();
        let mut command = one(text);
        let result: Result<(), String> = command.expand(|word| {
            seen.push(word.to_owned());
            Ok(word.to_uppercase())
        });
        result.unwrap();
        (seen, command)
    };
    let (seen, command) = expand("COPY --chown=u --from=f --exclude=x a b c");
    assert_eq!(seen, ["u", "", "a", "b", "c"]);
    let Command::Copy(copy) = command else {
        panic!()
    };
    assert_eq!(
        (copy.sources.destination.as_str(), copy.from.as_str()),
        ("C", "f")
    );

    assert_eq!(expand("ENV a=b c=d").0, ["a", "b", "c", "d"]);
    assert_eq!(expand("RUN --mount=target=$x a").0, [""; 0]);
}
