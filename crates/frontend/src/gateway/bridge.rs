//! The door of a frontend in an image: calls to the engine.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use kiln_dockerfile::ResolvedConfig;
use kiln_dockerfile::known::{ImageQuestion, OciLayoutQuestion};
use kiln_llb::{Definition, pb, platform};
use kiln_protocol::frontend::llb_bridge_client::LlbBridgeClient;
use kiln_protocol::frontend::{
    FileRange, ReadFileRequest, ResolveImageConfigRequest, ResolveSourceGitRequest,
    ResolveSourceMetaRequest, SolveRequest, WarnRequest, result,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::CallError;
use crate::door::{Door, Notice, SourceMeta};

/// `ResolverType` of images in OCI layouts of the client; all others are in
/// registries.
const OCI_LAYOUT: i32 = 1;

/// What every BuildKit's error for a file that is not there contains.
const NO_FILE: &str = "no such file or directory";

/// The engine.
pub(super) struct Bridge(LlbBridgeClient<Channel>);

impl Bridge {
    pub(super) fn new(client: LlbBridgeClient<Channel>) -> Self {
        Self(client)
    }

    /// One of any number of clients of the one connection.
    pub(super) fn client(&self) -> LlbBridgeClient<Channel> {
        self.0.clone()
    }

    /// Has something computed that comes to one result; answers its id, which
    /// is empty for an empty tree.
    pub(super) async fn solve_one(&self, request: SolveRequest) -> Result<String, CallError> {
        match self.solve_any(request).await?.result {
            Some(result::Result::Ref(reference)) => Ok(reference.id),
            None => Ok(String::new()),
            Some(_) => Err(Status::internal("a definition came to other than one result").into()),
        }
    }

    /// Has something computed.
    pub(super) async fn solve_any(
        &self,
        request: SolveRequest,
    ) -> Result<kiln_protocol::frontend::Result, CallError> {
        let request = SolveRequest {
            allow_result_return: true,
            allow_result_array_ref: true,
            ..request
        };
        let response = self.client().solve(request).await?.into_inner();
        Ok(response.result.unwrap_or_default())
    }

    async fn resolve(
        &self,
        request: ResolveImageConfigRequest,
    ) -> Result<ResolvedConfig, CallError> {
        let asked = request.r#ref.clone();
        let resolved = self.client().resolve_image_config(request).await?;
        let resolved = resolved.into_inner();
        Ok(ResolvedConfig {
            reference: match resolved.r#ref.is_empty() {
                true => asked,
                false => resolved.r#ref,
            },
            digest: resolved.digest,
            config: resolved.config,
        })
    }
}

#[async_trait]
impl Door for Bridge {
    type Ref = String;
    type Error = CallError;

    async fn image_config(&self, question: &ImageQuestion) -> Result<ResolvedConfig, CallError> {
        let request = ResolveImageConfigRequest {
            r#ref: question.reference.clone(),
            platform: Some(platform::to_pb(&question.platform)),
            resolve_mode: question.resolve_mode.as_str().to_owned(),
            log_name: question.log_name.clone(),
            ..ResolveImageConfigRequest::default()
        };
        self.resolve(request).await
    }

    async fn layout_config(
        &self,
        question: &OciLayoutQuestion,
    ) -> Result<ResolvedConfig, CallError> {
        let request = ResolveImageConfigRequest {
            r#ref: question.reference.clone(),
            platform: question.platform.as_ref().map(platform::to_pb),
            log_name: question.log_name.clone(),
            resolver_type: OCI_LAYOUT,
            session_id: question.session.clone(),
            store_id: question.store.clone(),
            ..ResolveImageConfigRequest::default()
        };
        self.resolve(request).await
    }

    async fn source_meta(
        &self,
        source: &pb::SourceOp,
        log_name: &str,
    ) -> Result<SourceMeta, CallError> {
        let request = ResolveSourceMetaRequest {
            source: Some(source.clone()),
            log_name: log_name.to_owned(),
            git: source
                .identifier
                .starts_with("git://")
                .then_some(ResolveSourceGitRequest {
                    return_object: true,
                }),
            ..ResolveSourceMetaRequest::default()
        };
        let known = self.client().resolve_source_meta(request).await?;
        let known = known.into_inner();
        let modified = known.http.and_then(|http| http.last_modified);
        Ok(SourceMeta {
            commit: known.git.unwrap_or_default().commit_object,
            modified: modified.map(|time| time.seconds),
        })
    }

    async fn solve(&self, definition: &Definition) -> Result<String, CallError> {
        let request = SolveRequest {
            definition: Some(definition.clone().into()),
            ..SolveRequest::default()
        };
        self.solve_one(request).await
    }

    async fn read_file(
        &self,
        result: &String,
        path: &str,
        limit: Option<usize>,
    ) -> Result<Option<Bytes>, CallError> {
        if result.is_empty() {
            return Ok(None);
        }
        let request = ReadFileRequest {
            r#ref: result.clone(),
            file_path: path.to_owned(),
            range: limit.map(|limit| FileRange {
                offset: 0,
                length: i64::try_from(limit).unwrap_or(i64::MAX),
            }),
            mount_index: 0,
        };
        match self.client().read_file(request).await {
            Ok(response) => Ok(Some(response.into_inner().data)),
            Err(error) if error.code() == Code::NotFound || error.message().contains(NO_FILE) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn warn(&self, notices: Vec<Notice>) {
        let calls = notices.into_iter().map(|notice| {
            let request = WarnRequest {
                digest: notice.vertex,
                level: 1,
                short: notice.short.into(),
                detail: vec![Bytes::from_static(notice.detail.as_bytes())],
                url: notice.url.to_owned(),
                info: Some(notice.place.file),
                ranges: notice.place.ranges,
            };
            let mut client = self.client();
            async move { client.warn(request).await }
        });
        // A warning that is not shown is no reason to fail.
        let _shown = join_all(calls).await;
    }
}
