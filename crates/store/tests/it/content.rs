//! Blobs: verified, invisible until complete, kept while somebody needs them.

use std::fs;
use std::io::Write;

use kiln_store::content::ContentError;
use kiln_store::gc::PruneOptions;
use kiln_store::refs::LayerBlob;
use oci_spec::image::{Descriptor, MediaType};

use super::setup::{Rig, digest_of, write};

#[test]
fn a_blob_is_found_by_its_digest() {
    let rig = Rig::new();
    let blob = rig.store.content().put(b"hello").unwrap();
    assert_eq!(blob.digest, digest_of(b"hello"));
    assert_eq!(
        rig.store.content().read(&blob.digest, 100).unwrap(),
        b"hello"
    );
    assert_eq!(rig.store.content().size(&blob.digest).unwrap(), Some(5));
    let path = rig
        .root()
        .join("content/blobs/sha256")
        .join(blob.digest.digest());
    assert_eq!(fs::read(path).unwrap(), b"hello");
    assert!(rig.root().join("content/oci-layout").exists());
}

#[test]
fn writing_a_blob_twice_is_fine() {
    let rig = Rig::new();
    let first = rig.store.content().put(b"hello").unwrap();
    assert_eq!(rig.store.content().put(b"hello").unwrap(), first);
}

#[test]
fn sha512_names_work() {
    let rig = Rig::new();
    let digest = format!(
        "sha512:{}",
        hex::encode(<sha2::Sha512 as sha2::Digest>::digest(b"x"))
    )
    .parse()
    .unwrap();
    let mut writer = rig.store.content().writer(Some((&digest, None))).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(writer.commit().unwrap().digest, digest);
    assert_eq!(rig.store.content().read(&digest, 10).unwrap(), b"x");
}

#[test]
fn wrong_bytes_are_refused() {
    let rig = Rig::new();
    let wanted = digest_of(b"hello");
    let try_with = |bytes: &[u8], size: Option<u64>| {
        let mut writer = rig.store.content().writer(Some((&wanted, size))).unwrap();
        writer.append(bytes)?;
        writer.commit()
    };
    assert!(matches!(
        try_with(b"hallo", Some(5)),
        Err(ContentError::DigestMismatch { .. })
    ));
    assert!(matches!(
        try_with(b"hell", Some(5)),
        Err(ContentError::SizeMismatch { found: 4, .. })
    ));
    // Refused as it comes, not after gigabytes.
    assert!(matches!(
        try_with(b"hello, there", Some(5)),
        Err(ContentError::SizeMismatch { found: 12, .. })
    ));
    assert!(!rig.store.content().exists(&wanted).unwrap());
    assert!(try_with(b"hello", None).is_ok());
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let rig = Rig::new();
    let mut writer = rig.store.content().writer(None).unwrap();
    writer.write_all(&[7; 1 << 20]).unwrap();
    drop(writer);
    assert_eq!(
        fs::read_dir(rig.root().join("content/ingest"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_reader_may_refuse_large_blobs() {
    let rig = Rig::new();
    let blob = rig.store.content().put(&[1; 100]).unwrap();
    assert!(matches!(
        rig.store.content().read(&blob.digest, 99),
        Err(ContentError::TooLarge { size: 100, .. })
    ));
    let absent = digest_of(b"absent");
    let error = rig.store.content().read(&absent, 99).unwrap_err();
    assert!(error.to_string().contains(absent.as_ref()), "{error}");
}

#[test]
fn prune_removes_what_nothing_needs() {
    let rig = Rig::new();
    let content = rig.store.content();
    let stray = content.put(b"stray").unwrap();
    let layer = content.put(b"a layer").unwrap();
    let owner = rig.layer(None, |tree| write(tree, "a", "a"));
    let descriptor = Descriptor::new(MediaType::ImageLayer, layer.size, layer.digest.clone());
    rig.store
        .set_layer_blob(
            &owner,
            LayerBlob {
                descriptor,
                diff_id: layer.digest.clone(),
            },
        )
        .unwrap();
    let extra = content.put(b"another form of the layer").unwrap();
    rig.store.attach_blob(&owner, &extra.digest).unwrap();
    let config = content.put(b"{}").unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},"layers":null}}"#,
        config.digest
    );
    let manifest = content.put(manifest.as_bytes()).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{}}}]}}"#,
        manifest.digest, manifest.size
    );
    let index = content.put(index.as_bytes()).unwrap();
    let target = Descriptor::new(MediaType::ImageIndex, index.size, index.digest.clone());
    rig.store.set_image("example.com/a:1", &target).unwrap();

    rig.prune(&PruneOptions::default());
    assert!(!content.exists(&stray.digest).unwrap());
    for kept in [&layer, &extra, &config, &manifest, &index] {
        assert!(content.exists(&kept.digest).unwrap(), "{}", kept.digest);
    }

    drop(owner);
    assert!(rig.store.remove_image("example.com/a:1").unwrap());
    rig.prune_all();
    assert_eq!(
        fs::read_dir(rig.root().join("content/blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_lease_keeps_what_is_written_under_it() {
    let rig = Rig::new();
    let lease = rig.store.lease().unwrap();
    let blob = rig.store.content().put(b"not recorded yet").unwrap();
    rig.prune_all();
    assert!(rig.store.content().exists(&blob.digest).unwrap());
    drop(lease);
    rig.prune_all();
    assert!(!rig.store.content().exists(&blob.digest).unwrap());
}

#[test]
fn looking_a_blob_up_keeps_it_under_a_lease() {
    let rig = Rig::new();
    let blob = rig.store.content().put(b"from an earlier build").unwrap();
    let path = rig.store.content().path(&blob.digest);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(1_000_000);
    fs::File::open(&path)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let _lease = rig.store.lease().unwrap();
    assert!(rig.store.content().exists(&blob.digest).unwrap());
    rig.prune_all();
    assert!(rig.store.content().exists(&blob.digest).unwrap());
}
