//! Where exports of a build are delivered: to the client's side of its session.

use std::collections::BTreeMap;
use std::io::{self, Write};

use kiln_engine::{ExportRequest, ExportTarget};
use kiln_llb::git_url::parse_bool;
use kiln_protocol::control::Exporter;
use kiln_session::content::export_store;
use kiln_session::{ExportStream, RECEIVER, RemoteSession};
use tonic::Status;

/// Gives the exporters of a build their targets; `first` is the number of the first one.
pub(super) fn requests(
    exporters: Vec<Exporter>,
    first: usize,
    session: Option<&RemoteSession>,
) -> Result<Vec<ExportRequest>, Status> {
    let mut layouts = 0;
    let requests = exporters.into_iter().enumerate().map(|(index, exporter)| {
        let layouts_before = layouts;
        layouts += usize::from(is_layout(&exporter));
        request(exporter, first + index, layouts_before, session)
    });
    requests.collect()
}

/// Whether an image is delivered blob by blob. Values that say neither are refused later.
fn is_layout(exporter: &Exporter) -> bool {
    let tar = exporter.attrs.get("tar").map(String::as_str);
    matches!(exporter.r#type.as_str(), "oci" | "docker") && tar.and_then(parse_bool) == Some(false)
}

/// Gives an exporter, the `index`-th of its build, its target.
fn request(
    mut exporter: Exporter,
    index: usize,
    layouts_before: usize,
    session: Option<&RemoteSession>,
) -> Result<ExportRequest, Status> {
    let target = match exporter.r#type.as_str() {
        "oci" | "docker" if is_layout(&exporter) => {
            let session = needed(session, &exporter.r#type)?;
            let store = session.content(&export_store(layouts_before));
            ExportTarget::RemoteContent(store.map_err(Status::from)?)
        }
        "oci" | "docker" if exporter.attrs.contains_key(RECEIVER) => {
            let session = needed(session, &exporter.r#type)?;
            let names = exporter.attrs.remove(RECEIVER).unwrap_or_default();
            let receiver = names
                .parse()
                .and_then(|names| session.receiver(index, names));
            ExportTarget::Receiver(receiver.map_err(Status::from)?)
        }
        "tar" | "oci" | "docker" => {
            let session = needed(session, &exporter.r#type)?;
            ExportTarget::Stream(Box::new(LazyStream {
                session: session.clone(),
                index,
                stream: None,
            }))
        }
        "local" => {
            let session = needed(session, &exporter.r#type)?;
            let directory = session.directory_target(index);
            ExportTarget::RemoteDirectory(directory.map_err(Status::from)?)
        }
        _ => ExportTarget::None,
    };
    Ok(ExportRequest {
        kind: exporter.r#type,
        attributes: exporter.attrs,
        target,
    })
}

fn needed<'a>(session: Option<&'a RemoteSession>, kind: &str) -> Result<&'a RemoteSession, Status> {
    session.ok_or_else(|| {
        Status::invalid_argument(format!(
            "exporter {kind} delivers to the client, but the build has no session"
        ))
    })
}

/// A stream that begins when there is something to write: a client makes its
/// file then, and not for builds that fail.
struct LazyStream {
    session: RemoteSession,
    index: usize,
    stream: Option<ExportStream>,
}

impl LazyStream {
    fn stream(&mut self) -> io::Result<&mut ExportStream> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self
                .session
                .stream_target(self.index, &BTreeMap::new())
                .map_err(io::Error::other)?,
        };
        Ok(self.stream.insert(stream))
    }
}

impl Write for LazyStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream()?.flush()
    }
}
