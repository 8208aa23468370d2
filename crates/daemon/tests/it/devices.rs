//! CDI devices of a daemon.

use std::sync::Arc;

use kiln_client::{Client, ConnectOptions, Frontend, SolveRequest};
use kiln_session::Services;
use kiln_session::progress::Silent;

use crate::process::Daemon;

const TOY: &str = r#"
cdiVersion: 0.6.0
kind: vendor.com/toy
annotations: {vendor: it}
devices:
- name: one
  containerEdits:
    env: [TOY=one]
    deviceNodes: [{path: /dev/toy, hostPath: /dev/zero}]
"#;

#[tokio::test]
async fn devices_are_listed_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let [cdi, context] = ["cdi", "context"].map(|name| dir.path().join(name));
    std::fs::create_dir(&cdi).unwrap();
    std::fs::write(cdi.join("toy.yaml"), TOY).unwrap();
    std::fs::write(cdi.join("bad.yaml"), "cdiVersion: 1\n").unwrap();
    kiln_testkit::rootfs::busybox(context.join("rootfs")).unwrap();
    let dockerfile = "FROM scratch\nCOPY rootfs /\n\
                      RUN --device=vendor.com/toy=one,required [ $TOY = one ] && [ -c /dev/toy ]\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();

    let daemon = Daemon::start(&[&format!("--cdi-spec-dir={}", cdi.display())]);
    let address = format!("unix://{}", daemon.socket().display());
    let client = Client::connect(&address.parse().unwrap(), &ConnectOptions::default()).await;
    let client = client.unwrap();
    let workers = client.workers(&[]).await.unwrap();
    let [device] = workers[0].devices.as_slice() else {
        panic!("{:?}", workers[0].devices);
    };
    assert_eq!(device.name, "vendor.com/toy=one");
    assert_eq!(device.annotations["vendor"], "it");
    assert!(!device.auto_allow && !device.on_demand);
    assert!(daemon.log().contains("bad.yaml: cdiVersion: invalid type"));

    let build = async |entitlements: &[&str]| {
        let request = SolveRequest {
            frontend: Frontend::Named("dockerfile.v0".into()),
            entitlements: entitlements.iter().map(|it| (*it).to_owned()).collect(),
            ..SolveRequest::default()
        };
        let services = Services {
            directories: ["context", "dockerfile"]
                .map(|name| (name.to_owned(), context.clone()))
                .into(),
            ..Services::default()
        };
        client.solve(request, services, Arc::new(Silent)).await
    };
    let error = build(&[]).await.unwrap_err().to_string();
    let expected = "device vendor.com/toy=one is requested by the build but not allowed";
    assert!(error.contains(expected), "{error}");
    build(&["device=vendor.com/toy=one"]).await.unwrap();
}
