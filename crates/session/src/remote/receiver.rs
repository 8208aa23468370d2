//! A receiver of images on the client's side: its layers are asked for as a store, what it takes is an output.

use std::collections::BTreeMap;
use std::io::{self, Write};

use oci_spec::image::Digest;

use super::content::Store;
use super::{Calls, ExportStream};
use crate::{ImageReceiver, LayerNames, RemoteContent as _, SessionError, receiver};

pub(super) struct Receiver {
    calls: Calls,
    exporter: usize,
    names: LayerNames,
    layers: Store,
}

impl Receiver {
    pub(super) fn new(
        calls: &Calls,
        exporter: usize,
        names: LayerNames,
    ) -> Result<Self, SessionError> {
        Ok(Self {
            calls: calls.clone(),
            exporter,
            names,
            layers: Store::new(calls.clone(), &receiver::store(exporter))?,
        })
    }
}

#[async_trait::async_trait]
impl ImageReceiver for Receiver {
    fn layer_names(&self) -> LayerNames {
        self.names
    }

    async fn has_layer(&self, name: &Digest) -> Result<bool, SessionError> {
        let size = self.layers.size(name).await?;
        Ok(size.is_some())
    }

    fn receive(&self) -> io::Result<Box<dyn Write + Send>> {
        let stream = ExportStream::open(&self.calls, self.exporter, &BTreeMap::new());
        Ok(Box::new(stream.map_err(io::Error::other)?))
    }
}
