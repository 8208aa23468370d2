//! Attestations of images that containerd keeps.

use serde_json::Value;

use super::{HELLO, Scene};

impl Scene {
    fn document(&self, digest: &Value) -> Value {
        let text = self.ctr(&["content", "get", digest.as_str().unwrap()]);
        serde_json::from_str(&text).unwrap()
    }

    /// What containerd's garbage collector goes by: `LABEL=DIGEST` from this blob to others.
    fn refers(&self, from: &Value, kind: &str, to: &Value) {
        let list = self.ctr(&["content", "ls"]);
        let from = from.as_str().unwrap();
        let line = list.lines().find(|line| line.starts_with(from));
        let label = format!(
            "containerd.io/gc.ref.content.{kind}={}",
            to.as_str().unwrap()
        );
        let is_there = line.is_some_and(|line| line.contains(&label));
        assert!(is_there, "no {label} at {from} in\n{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attestations_are_kept_with_their_image() {
    for as_artifact in ["true", "false"] {
        let scene = Scene::new();
        let options = [("attest:provenance", "mode=max")];
        let output = [
            ("name", "attested:1"),
            ("unpack", "true"),
            ("oci-artifact", as_artifact),
        ];
        let built = scene.try_build(HELLO, &options, &output).await.unwrap();
        let list = scene.ctr(&["images", "ls"]);
        let line = list.lines().find(|line| line.starts_with("attested:1"));
        let line = line.unwrap();
        let kind = "application/vnd.oci.image.index.v1+json";
        assert!(
            line.contains(kind) && line.contains(built.digest()),
            "{list}"
        );

        // Nothing is garbage.
        scene.collect();
        let root = Value::from(built.digest());
        let index = scene.document(&root);
        let [image, said] = index["manifests"].as_array().unwrap().as_slice() else {
            panic!("{index}");
        };
        let about = &said["annotations"];
        assert_eq!(about["vnd.docker.reference.type"], "attestation-manifest");
        assert_eq!(about["vnd.docker.reference.digest"], image["digest"]);
        scene.refers(&root, "m.0", &image["digest"]);
        scene.refers(&root, "m.1", &said["digest"]);

        let manifest = scene.document(&said["digest"]);
        let is_artifact = manifest["artifactType"].is_string();
        assert_eq!(is_artifact, as_artifact == "true", "{manifest}");
        scene.refers(&said["digest"], "config", &manifest["config"]["digest"]);
        scene.document(&manifest["config"]["digest"]);
        let [statement] = manifest["layers"].as_array().unwrap().as_slice() else {
            panic!("{manifest}");
        };
        scene.refers(&said["digest"], "s.0", &statement["digest"]);
        let statement = scene.document(&statement["digest"]);
        let predicate = statement["predicateType"].as_str().unwrap();
        assert!(
            predicate.starts_with("https://slsa.dev/provenance/"),
            "{statement}"
        );
        let (algorithm, hex) = image["digest"].as_str().unwrap().split_once(':').unwrap();
        let subjects = statement["subject"].as_array().unwrap();
        assert!(!subjects.is_empty(), "{statement}");
        let mut digests = subjects.iter().map(|subject| &subject["digest"][algorithm]);
        assert!(digests.all(|digest| digest == hex), "{statement}");

        let check = scene.checked("attested:1");
        assert!(check.contains("complete (2/2)"), "{check}");
        assert_eq!(scene.run("attested:1"), "hello from the image\n");
        // With the name all of it goes.
        scene.ctr(&["images", "rm", "--sync", "attested:1"]);
        assert_eq!(scene.ctr(&["content", "ls", "-q"]), "");
    }
}
