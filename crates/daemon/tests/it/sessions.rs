//! What a build asks of its client.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kiln_client::{Client, ConnectOptions, Frontend, SolveRequest};
use kiln_llb::build::{LocalOptions, State};
use kiln_protocol::control::Exporter;
use kiln_session::progress::Silent;
use kiln_session::{
    Delivery, JudgeSources, PickExporters, PickedExporter, Services, SessionError, SessionHeaders,
    SessionId, SourceAnswer, SourceQuestion,
};
use tonic::Code;

use crate::llb;
use crate::process::Daemon;

/// Takes an output.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Wants a tar of whatever was built.
#[derive(Default)]
struct Picker(Mutex<Option<BTreeMap<String, String>>>);

#[async_trait::async_trait]
impl PickExporters for Picker {
    async fn pick(
        &self,
        _: BTreeMap<String, Bytes>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>, SessionError> {
        assert_eq!(refs.len(), 1);
        Ok(vec![PickedExporter {
            kind: "tar".into(),
            attributes: BTreeMap::new(),
        }])
    }

    async fn finish(&self, response: BTreeMap<String, String>) -> Result<(), SessionError> {
        *self.0.lock().unwrap() = Some(response);
        Ok(())
    }
}

#[tokio::test]
async fn a_client_may_pick_exporters_late() {
    let daemon = Daemon::start(&[]);
    let (picker, outputs) = (
        Arc::new(Picker::default()),
        [(); 2].map(|()| Output::default()),
    );
    let deliveries = outputs.iter().enumerate();
    let deliveries =
        deliveries.map(|(number, output)| (number, Delivery::Stream(Box::new(output.clone()))));
    let services = Services {
        exporters: Some(Arc::clone(&picker) as _),
        exports: deliveries.collect(),
        ..Services::default()
    };
    let headers = SessionHeaders::new(SessionId::new("picky"));
    let client = tokio::spawn(services.serve(daemon.channel().await, headers));
    let mut request = llb::solve("build", llb::file("content"));
    request.session = "picky".into();
    request.enable_session_exporter = true;
    request.exporters = vec![Exporter {
        r#type: "oci".into(),
        attrs: BTreeMap::new(),
    }];
    let answer = daemon
        .client()
        .await
        .solve(request)
        .await
        .unwrap()
        .into_inner();
    let answer: BTreeMap<_, _> = answer.exporter_response.into_iter().collect();
    assert!(answer.contains_key("containerimage.digest"), "{answer:?}");
    assert_eq!(picker.0.lock().unwrap().take(), Some(answer));
    let [archive, tar] = outputs.map(|output| output.0.lock().unwrap().clone());
    let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(
        holds(&archive, b"oci-layout"),
        "the request's own exporter ran"
    );
    assert!(
        holds(&tar, b"content") && !holds(&tar, b"oci-layout"),
        "and then the picked one"
    );
    client.abort();
}

/// Lets a build have the directory `good` instead of any other.
struct Replacing;

#[async_trait::async_trait]
impl JudgeSources for Replacing {
    async fn judge(&self, question: SourceQuestion) -> Result<SourceAnswer, SessionError> {
        let mut source = question.source.source.unwrap();
        Ok(match source.identifier.as_str() {
            "local://good" => SourceAnswer::Allowed,
            "local://bad" => SourceAnswer::Denied(vec!["bad is bad".into()]),
            _ => {
                source.identifier = "local://good".into();
                SourceAnswer::Replaced(source)
            }
        })
    }
}

#[tokio::test]
async fn a_clients_policy_decides_about_sources() {
    let daemon = Daemon::start(&[]);
    let good = daemon.path().join("good");
    std::fs::create_dir(&good).unwrap();
    std::fs::write(good.join("file"), "good content").unwrap();
    let address = format!("unix://{}", daemon.socket().display());
    let client = Client::connect(&address.parse().unwrap(), &ConnectOptions::default()).await;
    let client = client.unwrap();
    let build = async |name: &str, output: &Output| {
        let definition = llb::encode(&State::local(name, LocalOptions::default()));
        let request = SolveRequest {
            frontend: Frontend::Definition(definition),
            exports: vec![kiln_client::Export {
                kind: "tar".into(),
                ..kiln_client::Export::default()
            }],
            ..SolveRequest::default()
        };
        let services = Services {
            directories: [("good".to_owned(), good.clone())].into(),
            exports: [(0, Delivery::Stream(Box::new(output.clone())))].into(),
            policy: Some(Arc::new(Replacing)),
            ..Services::default()
        };
        client.solve(request, services, Arc::new(Silent)).await
    };
    let output = Output::default();
    build("other", &output).await.unwrap();
    let tar = output.0.lock().unwrap().clone();
    assert!(tar.windows(12).any(|part| part == b"good content"));

    let error = build("bad", &Output::default()).await.unwrap_err();
    let denied = "source \"local://bad\" not allowed by policy: action DENY";
    assert!(error.to_string().contains(denied), "{error}");
    assert_eq!(error.daemon().unwrap().denials, ["bad is bad"]);
}

#[tokio::test]
async fn a_session_without_a_policy_cannot_have_one_asked() {
    let daemon = Daemon::start(&[]);
    let headers = SessionHeaders::new(SessionId::new("plain"));
    let client = tokio::spawn(Services::default().serve(daemon.channel().await, headers));
    let mut request = llb::solve("build", llb::file("content"));
    request.source_policy_session = "plain".into();
    let error = daemon.client().await.solve(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Unknown);
    let expected = "source policy of session plain: method /moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy not supported";
    assert!(error.message().contains(expected), "{error:?}");
    client.abort();
}
