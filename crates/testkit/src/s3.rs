//! A server that speaks like Amazon S3 and checks signatures; objects are files.

use std::fs;
use std::io;
use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;

use crate::serving::Serving;

/// The key id that the server knows.
pub const KEY_ID: &str = "kiln";
/// Its key.
pub const KEY: &str = "open-sesame";

/// A running server with a storage directory of its own; stopped on drop.
#[derive(Debug)]
pub struct S3Server {
    serving: Serving,
    dir: TempDir,
}

impl S3Server {
    /// Starts a server with one empty bucket.
    pub fn start(bucket: &str) -> io::Result<Self> {
        Self::start_with(bucket, Some(SimpleAuth::from_single(KEY_ID, KEY)))
    }

    /// Starts a server that lets everybody in.
    pub fn start_open(bucket: &str) -> io::Result<Self> {
        Self::start_with(bucket, None)
    }

    fn start_with(bucket: &str, auth: Option<SimpleAuth>) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("kiln-s3-").tempdir()?;
        fs::create_dir(dir.path().join(bucket))?;
        let files = FileSystem::new(dir.path());
        let files = files.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        if let Some(auth) = auth {
            service.set_auth(auth);
        }
        let service = service.build();
        let serving = Serving::start(move |listener| async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    // A client that goes away is no matter of the server's.
                    let _ = auto::Builder::new(executor)
                        .http1_only()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })?;
        Ok(Self { serving, dir })
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.serving.host()
    }

    /// Where an object is, for tests that look at it or damage it.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.dir.path().join(bucket).join(key)
    }
}
