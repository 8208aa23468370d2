//! Clients that pick exporters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kiln_session::{PickExporters, PickedExporter, Services, SessionError};

use crate::pair::Pair;

#[derive(Default)]
struct Picker(Mutex<Option<BTreeMap<String, String>>>);

#[async_trait::async_trait]
impl PickExporters for Picker {
    async fn pick(
        &self,
        metadata: BTreeMap<String, Bytes>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>, SessionError> {
        let name = metadata.get("image.name").cloned().unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        let image = |reference: String| PickedExporter {
            kind: "image".into(),
            attributes: BTreeMap::from([("name".into(), format!("{name}-{reference}"))]),
        };
        Ok(refs.into_iter().map(image).collect())
    }

    async fn finish(&self, response: BTreeMap<String, String>) -> Result<(), SessionError> {
        *self.0.lock().expect("lock") = Some(response);
        Ok(())
    }
}

#[tokio::test]
async fn a_client_picks_exporters_and_hears_of_their_end() {
    let picker = Arc::new(Picker::default());
    let pair = Pair::new(Services {
        exporters: Some(Arc::clone(&picker) as _),
        ..Services::default()
    })
    .await;
    let exporters = pair.remote.exporters();
    assert!(exporters.are_served());
    let metadata = BTreeMap::from([("image.name".into(), Bytes::from_static(b"x"))]);
    let picked = exporters.find(metadata, vec!["1".into(), "2".into()]).await;
    let picked = picked.expect("exporters");
    let names = picked
        .iter()
        .map(|it| (it.kind.as_str(), it.attributes["name"].as_str()));
    assert_eq!(
        names.collect::<Vec<_>>(),
        [("image", "x-1"), ("image", "x-2")]
    );
    let response = BTreeMap::from([("digest".to_owned(), "sha256:1".to_owned())]);
    exporters.finalize(response.clone()).await.expect("end");
    assert_eq!(picker.0.lock().expect("lock").take(), Some(response));
}

#[tokio::test]
async fn a_client_without_the_service_picks_nothing() {
    let pair = Pair::new(Services::default()).await;
    let exporters = pair.remote.exporters();
    assert!(!exporters.are_served());
    let error = exporters
        .find(BTreeMap::new(), Vec::new())
        .await
        .expect_err("no service");
    assert!(matches!(error, SessionError::NotServed { .. }), "{error}");
    exporters
        .finalize(BTreeMap::new())
        .await
        .expect("nobody wants to know");
}
