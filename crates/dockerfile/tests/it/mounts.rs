//! `RUN --mount`.

use kiln_dockerfile::instruction::{Command, Mount, MountError, MountFlag, MountType, Sharing};
use kiln_dockerfile::parse;

/// The flag, evaluated with `$X` standing for `x`.
fn mount(flag: &str) -> Result<Mount, String> {
    let file = parse(format!("FROM a\nRUN --mount={flag} b").as_bytes()).map_err(|error| {
        error
            .to_string()
            .replace("dockerfile parse error on line 2: ", "")
    })?;
    let Command::Run(run) = &file.stages[0].commands[0].value else {
        panic!()
    };
    evaluate(&run.mounts[0]).map_err(|error| error.to_string())
}

fn evaluate(flag: &MountFlag) -> Result<Mount, MountError> {
    flag.evaluate(&mut |value| Ok(value.replace("$X", "x")))
}

#[track_caller]
fn check_error(flag: &str, expected: &str) {
    assert_eq!(mount(flag).unwrap_err(), expected);
}

#[test]
fn bind_is_the_default_and_read_only() {
    let expected = Mount {
        kind: MountType::Bind,
        from: "a".to_owned(),
        source: "b".to_owned(),
        target: "x/c".to_owned(),
        readonly: true,
        ..Mount::default()
    };
    assert_eq!(mount("from=a,source=b,target=$X/c"), Ok(expected.clone()));
    assert_eq!(
        mount("type=bind,from=a,src=b,dst=$X/c"),
        Ok(expected.clone())
    );
    assert_eq!(
        mount("from=a,src=b,DESTINATION=x/c,ro"),
        Ok(expected.clone())
    );
    let writable = Mount {
        readonly: false,
        ..expected
    };
    for rw in ["rw", "readwrite", "rw=true", "ro=false", "readonly=0"] {
        assert_eq!(
            mount(&format!("from=a,src=b,target=x/c,{rw}")),
            Ok(writable.clone())
        );
    }
}

#[test]
fn cache() {
    let expected = Mount {
        kind: MountType::Cache,
        target: "/c".to_owned(),
        id: "x".to_owned(),
        sharing: Some(Sharing::Locked),
        mode: Some(0o750),
        uid: Some(1),
        gid: Some(2),
        ..Mount::default()
    };
    assert_eq!(
        mount("type=cache,target=/c,id=$X,sharing=locked,mode=0750,uid=1,gid=2"),
        Ok(expected)
    );
}

#[test]
fn tmpfs() {
    let size = |text: &str| {
        mount(&format!("type=tmpfs,target=/c,size={text}")).map(|mount| mount.size_limit)
    };
    assert_eq!(size("64m"), Ok(64 << 20));
    assert_eq!(size("1.5GiB"), Ok(3 << 29));
    assert_eq!(size("10kb"), Ok(10 << 10));
    assert_eq!(size("7"), Ok(7));
    assert_eq!(size("7b"), Ok(7));
    for bad in ["", "x", "7x", "7bb", "-7", "7mm", "1e400"] {
        assert_eq!(size(bad), Err(format!("invalid value for size: {bad}")));
    }
}

#[test]
fn secret_and_ssh() {
    let secret = mount("type=secret,id=a,env=B,required").unwrap();
    assert_eq!(
        (secret.kind, secret.env.as_deref(), secret.required),
        (MountType::Secret, Some("B"), true)
    );
    let ssh = mount("type=ssh,required=true,mode=0600").unwrap();
    assert_eq!(
        (ssh.kind, ssh.required, ssh.mode),
        (MountType::Ssh, true, Some(0o600))
    );
}

#[test]
fn fields_may_be_quoted() {
    let quoted = mount(r#"\"target=/a,b\",\"source=c\"\"d\""#).unwrap();
    assert_eq!(
        (quoted.target.as_str(), quoted.source.as_str()),
        ("/a,b", "c\"d")
    );
    check_error(
        r#"a=\"b\""#,
        "failed to parse csv mounts: parse error on line 1, column 3: bare \" in non-quoted-field",
    );
    check_error(
        r#"\"a=b"#,
        "failed to parse csv mounts: parse error on line 1, column 2: extraneous or missing \" in quoted-field",
    );
    check_error("", "failed to parse csv mounts: EOF");
}

#[test]
fn the_source_is_known_before_variables_are() {
    let file = parse(b"FROM a\nRUN --mount=type=$T,From=b --mount=from=c$ d").unwrap();
    let Command::Run(run) = &file.stages[0].commands[0].value else {
        panic!()
    };
    let sources: Vec<_> = run.mounts.iter().map(|mount| mount.from.as_str()).collect();
    assert_eq!(sources, ["b", "c$"]);
    check_error(
        "from=$X",
        "'from' doesn't support variable expansion, define alias stage instead",
    );
}

#[test]
fn mistakes() {
    check_error(
        "type=cach",
        "unsupported mount type \"cach\" (did you mean cache?)",
    );
    check_error("type=volume", "unsupported mount type \"volume\"");
    check_error(
        "type=cache,sharing=lock",
        "unsupported sharing value \"lock\" (did you mean locked?)",
    );
    check_error(
        "targt=/a",
        "unexpected key 'targt' in 'targt=/a' (did you mean target?)",
    );
    check_error("target", "invalid field 'target' must be a key=value pair");
    check_error("rw=x", "invalid value for rw: x");
    check_error(
        "required",
        "unexpected key 'required' for mount type 'bind'",
    );
    check_error(
        "type=cache,size=1",
        "unexpected key 'size' for mount type 'cache'",
    );
    check_error("type=cache,mode=9", "invalid value 9 for mode");
    check_error("type=cache,uid=+1", "invalid value +1 for uid");
    check_error("uid=1", "uid not allowed for \"bind\" type mounts");
    check_error(
        "type=tmpfs,mode=1",
        "mode not allowed for \"tmpfs\" type mounts",
    );
    check_error("type=secret,from=a", "secret mount should not have a from");
    check_error(
        "type=secret,id=a,sharing=shared",
        "secret mount should not define sharing",
    );
    check_error(
        "type=secret",
        "invalid secret mount. one of source, target required",
    );
    check_error(
        "type=secret,source=a,id=b",
        "both source and id can't be set",
    );
    check_error(
        "type=ssh,sharing=shared",
        "invalid cache sharing set for ssh mount",
    );
}
