//! Builds: what is asked, what news arrive, what errors say.

use std::sync::{Arc, Mutex};

use kiln_client::{CacheEntry, Code, Export, Frontend, SolveRequest};
use kiln_protocol::control::{SolveResponse, StatusResponse, Vertex};
use kiln_protocol::rpc;
use kiln_session::Services;
use kiln_session::progress::{Progress, Silent, Update};
use prost::Message as _;
use tonic::Status;

use crate::server::{Daemon, Script};

/// Remembers the names of steps.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Progress for Names {
    fn update(&self, update: Update) {
        let names = update.vertexes.into_iter().map(|vertex| vertex.name);
        self.0.lock().unwrap().extend(names);
    }
}

fn news(name: &str) -> StatusResponse {
    let vertex = Vertex {
        name: name.into(),
        ..Vertex::default()
    };
    StatusResponse {
        vertexes: vec![vertex],
        ..StatusResponse::default()
    }
}

#[tokio::test]
async fn a_build_is_asked_for_and_followed() {
    let response = SolveResponse {
        exporter_response: [("key".to_owned(), "value".to_owned())].into(),
    };
    let daemon = Daemon::start(Script {
        solve: Mutex::new(Some(Ok(response))),
        news: vec![news("one"), news("two")],
        ..Script::default()
    });
    let request = SolveRequest {
        options: [("target".to_owned(), "t".to_owned())].into(),
        exports: vec![Export {
            kind: "image".into(),
            attributes: [("name".to_owned(), "n".to_owned())].into(),
        }],
        cache_imports: vec![CacheEntry {
            kind: "registry".into(),
            attributes: [("ref".to_owned(), "r".to_owned())].into(),
        }],
        entitlements: vec!["network.host".into()],
        ..SolveRequest::default()
    };
    let names = Arc::new(Names::default());
    let client = daemon.client().await;
    let outcome = client.solve(request, Services::default(), names.clone());
    assert_eq!(outcome.await.unwrap().response["key"], "value");
    assert_eq!(*names.0.lock().unwrap(), ["one", "two"]);

    let asked = &daemon.script.solved.lock().unwrap()[0];
    assert_eq!(asked.r#ref.len(), 25);
    assert_eq!(asked.frontend, "dockerfile.v0");
    assert_eq!(asked.frontend_attrs["target"], "t");
    assert_eq!(
        asked.frontend_attrs["cache-imports"],
        r#"[{"Attrs":{"ref":"r"},"Type":"registry"}]"#
    );
    assert_eq!(asked.exporters[0].attrs["name"], "n");
    assert_eq!(asked.cache.as_ref().unwrap().imports[0].r#type, "registry");
    assert_eq!(asked.entitlements, ["network.host"]);
}

#[tokio::test]
async fn errors_bring_their_places() {
    let json = r#"{"info":{"filename":"Dockerfile","data":"RlJPTSBh","language":"Dockerfile"},
                   "ranges":[{"start":{"line":1},"end":{"line":1,"character":6}}]}"#;
    let detail = |kind: &str, json: &str| prost_types::Any {
        type_url: format!("github.com/moby/buildkit/{kind}+json"),
        value: json.as_bytes().to_vec(),
    };
    let details = rpc::Status {
        code: 5,
        message: "no such image".into(),
        details: vec![
            detail("stack.Stack", "{}"),
            detail("errdefs.Source", json),
            detail("errdefs.Source", "broken"),
            prost_types::Any {
                type_url: "kiln.Error+json".into(),
                value: br#"{"kind":"input","hints":["look"]}"#.to_vec(),
            },
        ],
    };
    let details = details.encode_to_vec();
    let status = Status::with_details(tonic::Code::NotFound, "no such image", details.into());
    let daemon = Daemon::start(Script {
        solve: Mutex::new(Some(Err(status))),
        ..Script::default()
    });
    let client = daemon.client().await;
    let solved = client.solve(
        SolveRequest::default(),
        Services::default(),
        Arc::new(Silent),
    );
    let error = solved.await.unwrap_err();
    assert_eq!(error.to_string(), "failed to solve: no such image");
    let error = error.daemon().unwrap();
    assert_eq!(error.code, Code::NotFound);
    let [place] = error.places.as_slice() else {
        panic!("{error:?}");
    };
    assert_eq!(place.file.data, b"FROM a");
    assert_eq!(place.ranges[0].end.character, 6);
    assert_eq!(error.details[0], "stack.Stack");
    assert_eq!(error.hints, ["look"]);
}

#[tokio::test]
async fn definitions_are_sent_as_they_are() {
    let daemon = Daemon::start(Script {
        solve: Mutex::new(Some(Ok(SolveResponse::default()))),
        ..Script::default()
    });
    let definition = kiln_protocol::pb::Definition {
        def: vec![b"op".as_slice().into()],
        ..Default::default()
    };
    let request = SolveRequest {
        frontend: Frontend::Definition(definition),
        ..SolveRequest::default()
    };
    let client = daemon.client().await;
    let solved = client.solve(request, Services::default(), Arc::new(Silent));
    solved.await.unwrap();
    let asked = &daemon.script.solved.lock().unwrap()[0];
    assert_eq!(asked.frontend, "");
    assert_eq!(asked.definition.as_ref().unwrap().def[0].as_ref(), b"op");
}
