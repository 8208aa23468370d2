//! What a client can ask for.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_engine::{BuildRequest, Frontend, Kind};
use kiln_llb::build::{Constraints, FileActions, MakeFile, MarshalOptions, State};
use kiln_protocol::frontend::{
    EvaluateRequest, FileRange, InputsRequest, PingRequest, ReadDirRequest, ReadFileRequest, Ref,
    ResolveImageConfigRequest, ResolveSourceMetaRequest, Result as WireResult, ReturnRequest,
    SolveRequest, StatFileRequest, result,
};
use kiln_protocol::sourcepolicy::{Policy, Rule};
use kiln_protocol::{pb, rpc};

use super::world::{Driven, World, context, single, solve};

async fn read(build: &mut Driven, id: &str, path: &str, range: Option<(i64, i64)>) -> String {
    let request = ReadFileRequest {
        r#ref: id.to_owned(),
        file_path: path.to_owned(),
        range: range.map(|(offset, length)| FileRange { offset, length }),
        mount_index: 0,
    };
    match build.client.read_file(request).await {
        Ok(response) => String::from_utf8(response.into_inner().data.to_vec()).unwrap(),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_results_can_be_read() {
    let world = World::new();
    let mut build = world.drive().await;
    let id = build.reference(&context("tree")).await;
    for (path, range, expected) in [
        ("tree/file", None, "0123456789"),
        ("/tree/dir/../file", None, "0123456789"),
        ("tree/link", None, "0123456789"),
        ("tree/file", Some((2, 3)), "234"),
        ("tree/file", Some((8, 100)), "89"),
        ("tree/file", Some((100, 1)), ""),
        (
            "tree/file",
            Some((-1, 1)),
            "Unknown: tree/file: negative offset -1 of a range",
        ),
        (
            "tree/none",
            None,
            "Unknown: open tree/none: no such file or directory",
        ),
    ] {
        let found = read(&mut build, &id, path, range).await;
        assert_eq!(found, expected, "{path} {range:?}");
    }
    let found = read(&mut build, &id, "tree", None).await;
    assert!(found.contains("tree"), "{found}");
    let found = read(&mut build, "nothing", "tree/file", None).await;
    assert_eq!(found, "Unknown: no such ref: \"nothing\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_results_can_be_listed() {
    let world = World::new();
    let mut build = world.drive().await;
    let id = build.reference(&context("tree")).await;
    for (path, pattern, expected) in [
        ("tree", "", "dir 800001ed, file 1a4, link 80001ff -> file"),
        ("tree", "f*", "file 1a4"),
        ("tree", "nothing", ""),
        ("tree/dir", "", "inner 1a4"),
    ] {
        let request = ReadDirRequest {
            r#ref: id.clone(),
            dir_path: path.to_owned(),
            include_pattern: pattern.to_owned(),
            mount_index: 0,
        };
        let entries = build.client.read_dir(request).await.unwrap().into_inner();
        let entries = entries.entries.iter().map(|entry| {
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            let link = match entry.linkname.is_empty() {
                true => String::new(),
                false => format!(" -> {}", text(&entry.linkname)),
            };
            format!("{} {:x}{link}", text(&entry.path), entry.mode)
        });
        let entries = entries.collect::<Vec<_>>().join(", ");
        assert_eq!(entries, expected, "{path} {pattern:?}");
    }
    for (path, expected) in [
        ("tree/file", Ok(("file", 10))),
        ("tree/link", Ok(("link", 10))),
        ("tree/dir", Ok(("dir", 0))),
        (
            "tree/none",
            Err("lstat tree/none: no such file or directory"),
        ),
    ] {
        let request = StatFileRequest {
            r#ref: id.clone(),
            path: path.to_owned(),
            mount_index: 0,
        };
        let stat = build.client.stat_file(request).await;
        match (stat, expected) {
            (Ok(response), Ok((name, size))) => {
                let stat = response.into_inner().stat.unwrap();
                assert_eq!(
                    (&stat.path[..], stat.size),
                    (name.as_bytes(), size),
                    "{path}"
                );
            }
            (Err(status), Err(message)) => assert_eq!(status.message(), message),
            (stat, _) => panic!("{path}: {stat:?}"),
        }
    }
}

/// Returns the result of a definition under a key and metadata.
fn returned(id: &str, metadata: &[(&str, &str)]) -> ReturnRequest {
    let metadata = metadata.iter();
    ReturnRequest {
        result: Some(WireResult {
            result: Some(result::Result::Ref(Ref {
                id: id.to_owned(),
                def: None,
            })),
            metadata: metadata
                .map(|(key, value)| ((*key).to_owned(), Bytes::from((*value).to_owned())))
                .collect(),
            ..WireResult::default()
        }),
        error: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_that_a_client_returns_is_exported() {
    let world = World::new();
    let mut build = world.drive().await;
    let id = build.reference(&context("tree")).await;
    let request = returned(&id, &[("frontend.note", "hello")]);
    build.client.r#return(request).await.unwrap();
    let outcome = build.outcome.await.unwrap().unwrap();
    let note = outcome.response.get("frontend.note");
    assert_eq!(note.map(String::as_str), Some("hello"));
    let file = std::fs::read_to_string(world.path("out/tree/file")).unwrap();
    assert_eq!(file, "0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_that_a_client_returns_is_the_builds() {
    for (code, kind) in [
        (2, Kind::Input),
        (1, Kind::Cancelled),
        (13, Kind::Internal),
        (14, Kind::Environment),
    ] {
        let world = World::new();
        let mut build = world.drive().await;
        let error = rpc::Status {
            code,
            message: "it did not please".into(),
            details: Vec::new(),
        };
        let request = ReturnRequest {
            result: None,
            error: Some(error),
        };
        build.client.r#return(request).await.unwrap();
        let error = build.outcome.await.unwrap().unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.kind),
            ("it did not please", kind)
        );
        let status = kiln_engine::wire_error::to_status(&error);
        assert_eq!(status.code() as i32, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_is_refused_by_name() {
    let world = World::new();
    let mut build = world.drive().await;
    let definition = context("tree");
    let with = |change: fn(&mut SolveRequest)| {
        let mut request = solve(&definition);
        change(&mut request);
        request
    };
    for (request, message) in [
        (
            with(|it| it.frontend = "dockerfile.v0".into()),
            "cannot solve with both Definition and Frontend specified",
        ),
        (
            SolveRequest {
                frontend: "other.v0".into(),
                ..SolveRequest::default()
            },
            "invalid frontend: other.v0",
        ),
        (
            SolveRequest {
                frontend: "gateway.v0".into(),
                ..SolveRequest::default()
            },
            "no source specified for gateway",
        ),
        (
            with(|it| {
                it.source_policies.push(Policy {
                    rules: vec![Rule::default()],
                    ..Policy::default()
                });
            }),
            "invalid nil selector in policy",
        ),
        (
            with(|it| {
                it.evaluate = true;
                it.definition.as_mut().unwrap().def[0] = Bytes::from_static(b"\xff");
            }),
            "failed to parse llb proto op 0",
        ),
    ] {
        let status = build.client.solve(request).await.unwrap_err();
        assert!(status.message().contains(message), "{message}: {status:?}");
    }
    let wrong = ResolveSourceMetaRequest {
        source: Some(pb::SourceOp {
            identifier: "git://example.com/repository".into(),
            attrs: [("git.bundle".to_owned(), "x".to_owned())].into(),
        }),
        ..ResolveSourceMetaRequest::default()
    };
    let status = build.client.resolve_source_meta(wrong).await.unwrap_err();
    assert!(status.message().contains("git.bundle"), "{status:?}");
    let nothing = ResolveSourceMetaRequest::default();
    let status = build.client.resolve_source_meta(nothing).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let nothing = ResolveImageConfigRequest::default();
    let status = build.client.resolve_image_config(nothing).await;
    assert!(status.is_err());
    for request in [ReturnRequest::default(), returned("nothing", &[])] {
        assert!(build.client.r#return(request).await.is_err());
    }
    build.client.r#return(returned("", &[])).await.unwrap();
    build.outcome.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_told_with_its_place() {
    let world = World::with_busybox();
    world.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY rootfs /\nRUN touch /made; exit 7\n",
    );
    let mut build = world.drive().await;
    let request = SolveRequest {
        frontend: "dockerfile.v0".into(),
        evaluate: true,
        allow_result_return: true,
        allow_result_array_ref: true,
        ..SolveRequest::default()
    };
    let status = build.client.solve(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unknown);
    assert!(status.message().ends_with("exit code: 7"), "{status:?}");
    let error = kiln_engine::wire_error::from_status(&status);
    let location = &error.locations[0];
    assert_eq!(location.file.filename, "Dockerfile");
    assert_eq!(location.ranges[0].start.line, 3);
    let details: rpc::Status = prost::Message::decode(status.details()).unwrap();
    let detail = |name: &str| {
        let name = format!("github.com/moby/buildkit/{name}");
        let found = details.details.iter().find(|it| it.type_url == name);
        let found = found.unwrap_or_else(|| panic!("no {name}"));
        serde_json::from_slice::<serde_json::Value>(&found.value).unwrap()
    };
    assert!(detail("errdefs.Vertex+json")["digest"].is_string());
    assert_eq!(detail("gatewayapi.ExitMessage+json")["Code"], 7);
    let solve = detail("errdefs.Solve+json");
    assert_eq!(
        solve["op"]["exec"]["meta"]["args"][2],
        "touch /made; exit 7"
    );
    // What the step left behind can be looked at.
    let mount = solve["mountIDs"][0].as_str().unwrap().to_owned();
    assert_eq!(read(&mut build, &mount, "made", None).await, "");
    let input = solve["inputIDs"][0].as_str().unwrap().to_owned();
    assert!(
        read(&mut build, &input, "made", None)
            .await
            .contains("no such file")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_file_action_worked_on_can_be_looked_at() {
    let world = World::new();
    let make = |paths: &[&str]| {
        let mut actions = FileActions::new();
        for path in paths {
            actions.make_file(MakeFile {
                path: (*path).to_owned(),
                data: (*path).to_owned().into(),
                mode: 0o644,
                ..MakeFile::default()
            });
        }
        actions
    };
    let state = State::scratch()
        .file(make(&["/made"]), Constraints::new())
        .file(make(&["/second", "/no/such/directory"]), Constraints::new());
    let definition = state.marshal(&MarshalOptions::default()).unwrap();
    let mut build = world.drive().await;
    let request = SolveRequest {
        evaluate: true,
        ..solve(&definition)
    };
    let status = build.client.solve(request).await.unwrap_err();
    let details: rpc::Status = prost::Message::decode(status.details()).unwrap();
    let mut details = details.details.iter();
    let told = details.find(|it| it.type_url.ends_with("errdefs.Solve+json"));
    let told: serde_json::Value = serde_json::from_slice(&told.unwrap().value).unwrap();
    assert_eq!(told["file"]["index"], "1");
    let (input, mounts) = (told["inputIDs"][0].as_str().unwrap(), &told["mountIDs"]);
    assert_eq!(mounts[0], "");
    let mount = mounts[1].as_str().unwrap();
    assert_eq!(read(&mut build, input, "made", None).await, "/made");
    assert_eq!(read(&mut build, mount, "second", None).await, "/second");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dockerfile_frontend_answers_with_metadata() {
    let world = World::new();
    world.write("context/Dockerfile", "FROM scratch\nCOPY tree /\nENV a=b\n");
    let mut build = world.drive().await;
    let solve = |options: &[(&str, &str)]| SolveRequest {
        frontend: "dockerfile.v0".into(),
        frontend_opt: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        allow_result_return: true,
        allow_result_array_ref: true,
        ..SolveRequest::default()
    };
    let one = build.client.solve(solve(&[])).await.unwrap().into_inner();
    let one = one.result.unwrap();
    let keys: Vec<_> = one.metadata.keys().map(String::as_str).collect();
    assert_eq!(keys, ["containerimage.config", "refs.platforms"]);
    let reference = single(one).id;
    assert_eq!(
        read(&mut build, &reference, "file", None).await,
        "0123456789"
    );

    let several = solve(&[("platform", "linux/amd64,linux/arm64")]);
    let several = build.client.solve(several).await.unwrap().into_inner();
    let several = several.result.unwrap();
    let keys: Vec<_> = several.metadata.keys().map(String::as_str).collect();
    let expected = [
        "containerimage.config/linux/amd64",
        "containerimage.config/linux/arm64",
        "refs.platforms",
    ];
    assert_eq!(keys, expected);
    let Some(result::Result::Refs(refs)) = several.result else {
        panic!("no refs by platform: {several:?}");
    };
    let keys: Vec<_> = refs.refs.keys().map(String::as_str).collect();
    assert_eq!(keys, ["linux/amd64", "linux/arm64"]);

    let targets = solve(&[("requestid", "frontend.targets")]);
    let targets = build.client.solve(targets).await.unwrap().into_inner();
    let targets = targets.result.unwrap().metadata;
    assert!(targets.contains_key("result.json"), "{targets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frontends_build_on_inputs() {
    let world = World::new();
    world.write(
        "context/tree/Dockerfile",
        "FROM base\nCOPY --from=named tree/file /copied\n",
    );
    let mut build = world.drive().await;
    let options = [
        ("context:named", "input:tree"),
        ("context:base", "input:base"),
        ("filename", "tree/Dockerfile"),
        ("frontend.caps", "moby.buildkit.frontend.contexts+forward"),
    ];
    let inputs = ["tree", "base", "dockerfile"];
    let request = SolveRequest {
        frontend: "dockerfile.v0".into(),
        frontend_opt: options
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
        frontend_inputs: inputs
            .map(|name| (name.to_owned(), context("tree").into()))
            .into(),
        allow_result_return: true,
        allow_result_array_ref: true,
        ..SolveRequest::default()
    };
    let response = build.client.solve(request.clone()).await.unwrap();
    let id = single(response.into_inner().result.unwrap()).id;
    assert_eq!(read(&mut build, &id, "copied", None).await, "0123456789");
    assert_eq!(read(&mut build, &id, "tree/dir/inner", None).await, "inner");

    let mut unknown = request;
    unknown
        .frontend_opt
        .insert("frontend.caps".into(), "x.y".into());
    let status = build.client.solve(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert_eq!(status.message(), "unsupported frontend capability x.y");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_what_there_is() {
    let world = World::new();
    let request = BuildRequest {
        frontend_inputs: BTreeMap::from([("given".to_owned(), context("tree"))]),
        ..world.request(Frontend::Client)
    };
    let mut build = world.drive_request(request).await;
    let pong = build
        .client
        .ping(PingRequest {})
        .await
        .unwrap()
        .into_inner();
    let enabled = |name: &str| {
        let caps = pong.frontend_api_caps.iter().chain(&pong.llb_caps);
        let caps: Vec<_> = caps.filter(|cap| cap.id == name).collect();
        caps.len() == 1 && caps[0].enabled
    };
    for (name, expected) in [
        ("return", true),
        ("gateway.exec", true),
        ("source.image", true),
        ("exec.mount.cache", true),
        ("source.git", true),
        ("source.git.mtime", true),
        ("source.git.bundle", true),
        ("source.http.checksum", true),
        ("exec.meta.cdi", true),
        ("source.metaresolver.image.attestations", true),
        ("solve.inlinereturn", false),
    ] {
        assert_eq!(enabled(name), expected, "{name}");
    }
    assert_eq!(pong.workers.len(), 1);
    assert!(!pong.workers[0].platforms.is_empty());
    let inputs = build.client.inputs(InputsRequest {}).await.unwrap();
    let inputs = inputs.into_inner().definitions;
    let given: kiln_protocol::pb::Definition = context("tree").into();
    assert_eq!(inputs["given"].def, given.def);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_computed_when_they_are_needed() {
    let world = World::new();
    let mut build = world.drive().await;
    let missing = context("tree");
    std::fs::remove_dir_all(world.path("context")).unwrap();
    let id = build.reference(&missing).await;
    let evaluated = build.client.evaluate(EvaluateRequest { r#ref: id }).await;
    assert!(evaluated.is_err());
    let mut at_once = solve(&missing);
    at_once.evaluate = true;
    assert!(build.client.solve(at_once).await.is_err());
}
