//! What a build asks of its client.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kiln_protocol::control::Exporter;
use kiln_session::{
    Delivery, PickExporters, PickedExporter, Services, SessionError, SessionHeaders, SessionId,
};

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
