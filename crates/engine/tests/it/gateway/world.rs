//! A build that a test drives over the gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_engine::{
    BuildError, BuildOutcome, BuildRequest, Definition, Engine, EngineOptions, ExportRequest,
    ExportTarget, Frontend, LlbBridgeService,
};
use kiln_llb::build::{LocalOptions, MarshalOptions, State};
use kiln_protocol::frontend::llb_bridge_client::LlbBridgeClient;
use kiln_protocol::frontend::llb_bridge_server::LlbBridgeServer;
use kiln_protocol::frontend::{Ref, Result as WireResult, SolveRequest, result};
use kiln_session::{Directories, Session};
use tokio::task::JoinHandle;

/// A client without a network in between.
pub(super) type Client = LlbBridgeClient<LlbBridgeServer<LlbBridgeService>>;

/// A directory with an engine, a context and an output.
pub(super) struct World {
    dir: tempfile::TempDir,
    pub(super) engine: Engine,
}

/// A build under way.
pub(super) struct Driven {
    pub(super) client: Client,
    pub(super) outcome: JoinHandle<Result<BuildOutcome, BuildError>>,
}

impl World {
    /// A world whose context has some files in `tree` and a busybox root
    /// filesystem in `rootfs`.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with options for the engine.
    pub(super) fn with(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = EngineOptions::new(dir.path().join("root"));
        change(&mut options);
        let engine = Engine::open(options).unwrap();
        let world = Self { dir, engine };
        world.write("context/tree/file", "0123456789");
        world.write("context/tree/dir/inner", "inner");
        std::os::unix::fs::symlink("file", world.path("context/tree/link")).unwrap();
        world
    }

    pub(super) fn with_busybox() -> Self {
        let world = Self::new();
        kiln_testkit::rootfs::busybox(world.path("context/rootfs")).unwrap();
        world
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub(super) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A request that exports into `out`.
    pub(super) fn request(&self, frontend: Frontend) -> BuildRequest {
        let context = self.path("context");
        let directories = ["context", "dockerfile"].map(|name| (name.to_owned(), context.clone()));
        let files = Directories {
            directories: directories.into(),
            ..Directories::default()
        };
        let session = Session {
            files: Arc::new(files),
            ..Session::empty()
        };
        BuildRequest {
            exports: vec![ExportRequest {
                kind: "local".into(),
                attributes: BTreeMap::new(),
                target: ExportTarget::Directory(self.path("out")),
            }],
            ..BuildRequest::new(frontend, session)
        }
    }

    /// Starts a build that the test drives.
    pub(super) async fn drive(&self) -> Driven {
        self.drive_request(self.request(Frontend::Client)).await
    }

    pub(super) async fn drive_request(&self, request: BuildRequest) -> Driven {
        let (engine, id) = (self.engine.clone(), request.id.clone());
        let outcome = tokio::spawn(async move { engine.build(request).await });
        let service = self.engine.llb_bridge(&id).await.unwrap();
        Driven {
            client: LlbBridgeClient::new(LlbBridgeServer::new(service)),
            outcome,
        }
    }
}

/// A definition that reads a part of the context.
pub(super) fn context(directory: &str) -> Definition {
    let options = LocalOptions {
        include: vec![format!("{directory}/**"), directory.to_owned()],
        ..LocalOptions::default()
    };
    State::local("context", options)
        .marshal(&MarshalOptions::default())
        .unwrap()
}

/// Asks for a definition in the present form.
pub(super) fn solve(definition: &Definition) -> SolveRequest {
    SolveRequest {
        definition: Some(definition.clone().into()),
        allow_result_return: true,
        allow_result_array_ref: true,
        ..SolveRequest::default()
    }
}

impl Driven {
    /// The id of a definition's result.
    pub(super) async fn reference(&mut self, definition: &Definition) -> String {
        let response = self.client.solve(solve(definition)).await.unwrap();
        single(response.into_inner().result.unwrap()).id
    }
}

/// The only ref of a result.
pub(super) fn single(result: WireResult) -> Ref {
    match result.result {
        Some(result::Result::Ref(reference)) => reference,
        other => panic!("no single ref: {other:?}"),
    }
}
