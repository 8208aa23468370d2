//! How conversations end.

use std::time::Duration;

use kiln_protocol::frontend::PingRequest;
use kiln_protocol::frontend::{EvaluateRequest, SolveRequest};

use super::world::{World, context, solve};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_given_up_answers_no_more() {
    let world = World::new();
    let mut build = world.drive().await;
    let id = build.reference(&context("tree")).await;
    build.outcome.abort();
    assert!((&mut build.outcome).await.unwrap_err().is_cancelled());
    let requests = [
        build.client.solve(solve(&context("tree"))).await.err(),
        build.client.solve(SolveRequest::default()).await.err(),
        build
            .client
            .evaluate(EvaluateRequest { r#ref: id })
            .await
            .err(),
    ];
    for status in requests {
        assert_eq!(status.unwrap().code(), tonic::Code::NotFound);
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_does_not_appear_is_not_waited_for_forever() {
    let world = World::new();
    assert!(world.engine.llb_bridge("nothing").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_may_appear_after_its_client() {
    let world = World::new();
    let request = world.request(kiln_engine::Frontend::Client);
    let (engine, id) = (world.engine.clone(), request.id.clone());
    let waiting = tokio::spawn(async move { engine.llb_bridge(&id).await });
    // Lets the other task wait first, where the scheduler is kind.
    tokio::task::yield_now().await;
    let engine = world.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    let service = waiting.await.unwrap().unwrap();
    let server = kiln_protocol::frontend::llb_bridge_server::LlbBridgeServer::new(service);
    let mut client = kiln_protocol::frontend::llb_bridge_client::LlbBridgeClient::new(server);
    client.ping(PingRequest {}).await.unwrap();
    build.abort();
    let _ = tokio::time::timeout(Duration::from_secs(60), build).await;
}
