//! Caches in stores: one conformance suite for all of them, against servers on loopback.

use std::fs;

use kiln_registry::{Client, ClientOptions};
use kiln_remote_cache::{
    ExportError, ExportOptions, Exported, ImportOptions, Imported, Place, RemoteStore,
    StoreEnvironment, StoreError, StoreOptions, export, import,
};
use kiln_store::Ref;
use kiln_testkit::actions_cache::ActionsCache;
use kiln_testkit::azure::{self, AzureServer};
use kiln_testkit::faults::{FaultyProxy, Schedule};
use kiln_testkit::s3::{self, S3Server};
use kiln_testkit::web_cache::WebCache;
use rstest::rstest;

use crate::fixture::{Bench, Record, attributes, chain, named, record};

const BUCKET: &str = "caches";
/// Never, as schedules go.
const NO_FAULTS: Schedule = Schedule {
    one_in: u64::MAX,
    seed: 1,
};

/// A running server of a store.
enum Server {
    S3(S3Server),
    /// Google's protocol, of which S3's is a dialect where nobody signs.
    Gcs(S3Server),
    Azure(AzureServer),
    Web(WebCache),
    Actions(ActionsCache, &'static str),
}

impl Server {
    fn start(kind: &str) -> Self {
        match kind {
            "s3" => Self::S3(S3Server::start(BUCKET).unwrap()),
            "gcs" => Self::Gcs(S3Server::start_open(BUCKET).unwrap()),
            "azblob" => Self::Azure(AzureServer::start().unwrap()),
            "http" => Self::Web(WebCache::start(Some("Bearer hush")).unwrap()),
            "gha1" => Self::Actions(ActionsCache::start().unwrap(), "1"),
            "gha2" => Self::Actions(ActionsCache::start().unwrap(), "2"),
            _ => unreachable!("{kind}"),
        }
    }

    fn host(&self) -> String {
        match self {
            Self::S3(server) | Self::Gcs(server) => server.host(),
            Self::Azure(server) => server.host(),
            Self::Web(server) => server.host(),
            Self::Actions(server, _) => server.host(),
        }
    }

    /// The type, and the keys that lead to the server by `host`.
    fn keys(&self, host: &str) -> (&'static str, Vec<(&'static str, String)>) {
        match self {
            Self::S3(_) => (
                "s3",
                vec![
                    ("bucket", BUCKET.into()),
                    ("region", "us-east-1".into()),
                    ("endpoint_url", format!("http://{host}")),
                    ("use_path_style", "true".into()),
                    ("access_key_id", s3::KEY_ID.into()),
                    ("secret_access_key", s3::KEY.into()),
                ],
            ),
            Self::Gcs(_) => (
                "gcs",
                vec![
                    ("bucket", BUCKET.into()),
                    ("endpoint_url", format!("http://{host}")),
                ],
            ),
            Self::Azure(_) => (
                "azblob",
                vec![
                    ("account_url", format!("http://{host}/{}", azure::ACCOUNT)),
                    ("account_name", azure::ACCOUNT.into()),
                    ("secret_access_key", azure::KEY.into()),
                ],
            ),
            Self::Web(_) => (
                "http",
                vec![
                    ("url", format!("http://{host}/cache")),
                    ("token", "hush".into()),
                ],
            ),
            Self::Actions(_, version) => (
                "gha",
                vec![
                    ("url", format!("http://{host}/")),
                    ("token", ActionsCache::token()),
                    ("version", (*version).into()),
                ],
            ),
        }
    }
}

/// A way to a store for one bench.
struct Way {
    kind: &'static str,
    keys: Vec<(&'static str, String)>,
}

impl Way {
    fn new((kind, keys): (&'static str, Vec<(&'static str, String)>)) -> Self {
        Self { kind, keys }
    }

    fn with(mut self, key: &'static str, value: &str) -> Self {
        self.keys.retain(|(known, _)| *known != key);
        self.keys.push((key, value.into()));
        self
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        let keys = self.keys.iter();
        keys.map(|(key, value)| (*key, value.as_str())).collect()
    }

    async fn open(&self, options: &StoreOptions) -> Result<Place, StoreError> {
        let client = Client::new(ClientOptions::default()).unwrap();
        let environment = StoreEnvironment::default();
        let store = RemoteStore::open(options, &environment, &client).await?;
        Ok(Place::Store(store))
    }

    async fn export(&self, bench: &Bench, records: &[Record]) -> Result<Exported, ExportError> {
        let options = ExportOptions::parse(self.kind, &attributes(&self.pairs())).unwrap();
        let kiln_remote_cache::Destination::Store(store) = &options.destination else {
            panic!("no store")
        };
        let place = self.open(store).await?;
        export(records, &options, bench.store.content(), Some(&place)).await
    }

    async fn import(&self, bench: &Bench) -> Imported<Ref> {
        let options = ImportOptions::parse(self.kind, &attributes(&self.pairs())).unwrap();
        let ImportOptions::Store(store) = &options else {
            panic!("no store")
        };
        let place = self.open(store).await.unwrap();
        import(&options, &bench.store, Some(place), |reference| reference).await
    }
}

/// Text that gzip cannot make small.
fn noise(length: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text += &format!("{state:016x}");
    }
    text
}

/// Loads a record's result and reads a file of it.
async fn file_of(bench: &Bench, imported: &Imported<Ref>, name: &str) -> Result<String, String> {
    let cache = imported.cache.as_ref().ok_or("no cache")?;
    let mut found = Err("no result".to_owned());
    for id in cache.keys.result_ids().unwrap() {
        let reference = cache.results.load(&id).await.map_err(|it| it.to_string())?;
        let made = reference.materialize().await;
        made.map_err(|error| error.to_string())?;
        let mount = bench.store.mount(&reference.mounts().unwrap()).unwrap();
        if let Ok(text) = fs::read_to_string(mount.path().join(name)) {
            found = Ok(text);
        }
    }
    found
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_makes_the_round(
    #[values("s3", "gcs", "azblob", "http", "gha1", "gha2")] kind: &str,
) {
    let server = Server::start(kind);
    let proxy = FaultyProxy::start(&server.host(), NO_FAULTS).unwrap();
    let way = Way::new(server.keys(&proxy.host()));
    let (bench, other) = (Bench::new(), Bench::new());

    // Nothing there: a miss that says so.
    let imported = way.import(&other).await;
    assert!(imported.cache.is_none());
    let warning = &imported.warnings[0];
    assert!(
        warning.contains("skipped: there is no cache named"),
        "{warning}"
    );

    let large = noise(17 << 20);
    let (lower, upper) = (bench.layer("a", &large), bench.layer("b", "upper"));
    let records = chain(&lower, &upper);
    let exported = way.export(&bench, &records).await.unwrap();
    assert_eq!(exported.warnings, Vec::<String>::new());

    // Only the config is read.
    let before = proxy.requests();
    let imported = way.import(&other).await;
    assert_eq!(imported.warnings, Vec::<String>::new());
    assert!(proxy.requests() - before <= 4, "{:?}", proxy.lines());
    let cache = imported.cache.as_ref().unwrap();
    assert!(cache.keys.exists(named("source").as_ref()).unwrap());
    assert_eq!(cache.keys.result_ids().unwrap().len(), 2);
    assert_eq!(file_of(&other, &imported, "b").await.unwrap(), "upper");
    assert!(file_of(&other, &imported, "a").await.unwrap() == large);
    assert_eq!(imported.losses.count(), 0);

    // What is known is not sent again.
    let before = proxy.lines().len();
    let third = bench.layer("c", "third");
    let records = [&records[..], &[record("more", &[], &[&third])]].concat();
    way.export(&bench, &records).await.unwrap();
    let lines = proxy.lines().split_off(before);
    let digest = lower.descriptor.digest().digest();
    let is_sent = |line: &&String| line.starts_with("PUT") && line.contains(digest);
    assert_eq!(lines.iter().filter(is_sent).count(), 0, "{lines:?}");
    let uploads = lines.iter().filter(|line| {
        ["PUT", "PATCH"]
            .iter()
            .any(|method| line.starts_with(method))
    });
    // The new blob and the config.
    assert_eq!(uploads.count(), 2, "{lines:?}");
    let imported = way.import(&Bench::new()).await;
    assert_eq!(imported.cache.unwrap().keys.result_ids().unwrap().len(), 3);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn one_request_in_five_fails(
    #[values("s3", "gcs", "azblob", "http", "gha1", "gha2")] kind: &str,
) {
    let server = Server::start(kind);
    let schedule = |seed| Schedule { one_in: 5, seed };
    let bench = Bench::new();
    let layers: Vec<_> = (0..6)
        .map(|number| bench.layer(&format!("file{number}"), &noise(1 << (10 + 2 * number))))
        .collect();
    let records: Vec<_> = layers
        .iter()
        .enumerate()
        .map(|(number, layer)| record(&format!("step{number}"), &[], &[layer]))
        .collect();
    let mut good = 0;
    for seed in 0..4 {
        let proxy = FaultyProxy::start_honest(&server.host(), schedule(seed)).unwrap();
        let way = Way::new(server.keys(&proxy.host()));
        // An export that fails says why; one that does not can be imported.
        if let Err(error) = way.export(&bench, &records).await {
            eprintln!("{kind}, {seed}: {error}");
            assert!(!error.to_string().contains("hush"), "{error}");
            continue;
        }
        good += 1;
        let other = Bench::new();
        let imported = way.import(&other).await;
        let Some(cache) = &imported.cache else {
            assert!(!imported.warnings.is_empty());
            continue;
        };
        for id in cache.keys.result_ids().unwrap() {
            let reference = cache.results.load(&id).await.unwrap();
            // Whatever arrives is right: the store checks it. What does not arrive is noted.
            if reference.materialize().await.is_err() {
                assert!(imported.losses.count() > 0);
                assert!(!cache.results.exists(&id));
            }
        }
    }
    assert!(good >= 3, "{good} of 4 exports worked");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_blobs_are_listed_at_once(#[values("s3", "gcs", "azblob")] kind: &str) {
    let server = Server::start(kind);
    let proxy = FaultyProxy::start(&server.host(), NO_FAULTS).unwrap();
    let way = Way::new(server.keys(&proxy.host()));
    let bench = Bench::new();
    let records: Vec<_> = (0..20)
        .map(|number| {
            let layer = bench.layer("a", &number.to_string());
            record(&number.to_string(), &[], &[&layer])
        })
        .collect();
    way.export(&bench, &records).await.unwrap();
    let before = proxy.lines().len();
    way.export(&bench, &records).await.unwrap();
    let lines = proxy.lines().split_off(before);
    // The list and the config, and whether the container is there.
    assert!(lines.len() <= 3, "{lines:?}");
}

#[rstest]
#[case("s3", "secret_access_key", "wrong")]
#[case("azblob", "secret_access_key", "d3Jvbmc=")]
#[case("http", "token", "wrong")]
#[tokio::test(flavor = "multi_thread")]
async fn who_is_denied_is_told(#[case] kind: &str, #[case] key: &'static str, #[case] value: &str) {
    let server = Server::start(kind);
    let way = Way::new(server.keys(&server.host())).with(key, value);
    let bench = Bench::new();
    let records = [record("x", &[], &[&bench.layer("a", "a")])];
    let error = way.export(&bench, &records).await.unwrap_err().to_string();
    assert!(error.contains("403") || error.contains("401"), "{error}");
    assert!(!error.contains(value), "{error}");
    let imported = way.import(&bench).await;
    assert!(imported.cache.is_none());
    assert!(
        imported.warnings[0].contains("skipped: "),
        "{:?}",
        imported.warnings
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_a_miss(
    #[values("s3", "gcs", "azblob", "http", "gha2")] kind: &str,
) {
    let server = Server::start(kind);
    let (kind, keys) = server.keys(&server.host());
    drop(server);
    let mut way = Way::new((kind, keys));
    if kind == "s3" {
        way = way.with("retry_max_attempts", "2");
    }
    let bench = Bench::new();
    let imported = way.import(&bench).await;
    assert!(imported.cache.is_none() && imported.warnings.len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_lie_where_other_engines_look_for_them() {
    let server = S3Server::start(BUCKET).unwrap();
    let server = Server::S3(server);
    let way = Way::new(server.keys(&server.host()))
        .with("prefix", "team/")
        .with("name", "one;two");
    let bench = Bench::new();
    let layer = bench.layer("a", "a");
    way.export(&bench, &[record("x", &[], &[&layer])])
        .await
        .unwrap();
    let Server::S3(files) = &server else { panic!() };
    let digest = layer.descriptor.digest().to_string();
    let blob = fs::read(files.object(BUCKET, &format!("team/blobs/{digest}"))).unwrap();
    assert_eq!(blob.len() as u64, layer.descriptor.size());
    for name in ["one", "two"] {
        let config = fs::read(files.object(BUCKET, &format!("team/manifests/{name}"))).unwrap();
        let expected = format!(
            "{{\"layers\":[{{\"blob\":\"{digest}\",\"parent\":-1,\"annotations\":{{\"mediaType\":\
             \"application/vnd.oci.image.layer.v1.tar+gzip\",\"diffID\":\"{}\",\"size\":{},\"createdAt\":\
             \"2020-09-13T12:26:40.25Z\"}}}}],\"records\":[{{\"layers\":[{{\"layer\":0,\"createdAt\":\
             \"2023-11-14T22:13:20Z\"}}],\"digest\":\"{}\"}}]}}",
            layer.diff_id,
            layer.descriptor.size(),
            named("x"),
        );
        assert_eq!(String::from_utf8(config).unwrap(), expected);
    }
    // A truncated blob is not taken for the blob, and a broken config does not spoil the other.
    fs::write(files.object(BUCKET, &format!("team/blobs/{digest}")), "x").unwrap();
    way.export(&bench, &[record("x", &[], &[&layer])])
        .await
        .unwrap();
    fs::write(files.object(BUCKET, "team/manifests/one"), "{").unwrap();
    let other = Bench::new();
    let imported = way.import(&other).await;
    assert!(imported.warnings[0].contains("cache one of S3 bucket caches skipped"));
    assert_eq!(file_of(&other, &imported, "a").await.unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_objects_are_touched() {
    let server = Server::start("s3");
    let proxy = FaultyProxy::start(&server.host(), NO_FAULTS).unwrap();
    let way = Way::new(server.keys(&proxy.host())).with("touch_refresh", "1h");
    let bench = Bench::new();
    let layer = bench.layer("a", "a");
    let records = [record("x", &[], &[&layer])];
    way.export(&bench, &records).await.unwrap();
    let Server::S3(files) = &server else { panic!() };
    let object = files.object(BUCKET, &format!("blobs/{}", layer.descriptor.digest()));
    let file = fs::File::options().write(true).open(&object).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(2);
    file.set_modified(old).unwrap();
    let before = proxy.lines().len();
    way.export(&bench, &records).await.unwrap();
    let lines = proxy.lines().split_off(before);
    // The question, the copy, the config. Its signature is in the address.
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("PUT") && line.contains("X-Amz-SignedHeaders"))
    );
    let modified = fs::metadata(&object).unwrap().modified().unwrap();
    assert!(modified > old + std::time::Duration::from_hours(1));
    assert_eq!(
        fs::metadata(&object).unwrap().len(),
        layer.descriptor.size()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_vanish_are_lost_one_by_one() {
    let server = Server::start("s3");
    let way = Way::new(server.keys(&server.host()));
    let bench = Bench::new();
    let (one, two) = (bench.layer("a", "one"), bench.layer("b", "two"));
    let records = [record("x", &[], &[&one]), record("y", &[], &[&two])];
    way.export(&bench, &records).await.unwrap();
    let other = Bench::new();
    let imported = way.import(&other).await;
    let Server::S3(files) = &server else { panic!() };
    let digest = one.descriptor.digest();
    fs::remove_file(files.object(BUCKET, &format!("blobs/{digest}"))).unwrap();
    let cache = imported.cache.as_ref().unwrap();
    let mut failed = 0;
    for id in cache.keys.result_ids().unwrap() {
        let reference = cache.results.load(&id).await.unwrap();
        let made = reference.materialize().await;
        assert_eq!(made.is_ok(), cache.results.exists(&id));
        failed += u32::from(made.is_err());
    }
    assert_eq!((failed, imported.losses.count()), (1, 1));
    assert!(imported.losses.news()[0].contains("it is not there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_asked_for_a_list_rather_than_for_each_blob() {
    let server = Server::start("gha2");
    let bench = Bench::new();
    let records: Vec<_> = (0..5)
        .map(|number| {
            let layer = bench.layer("a", &number.to_string());
            record(&number.to_string(), &[], &[&layer])
        })
        .collect();
    let way = Way::new(server.keys(&server.host()));
    way.export(&bench, &records).await.unwrap();
    let Server::Actions(service, _) = &server else {
        panic!()
    };
    service.entries().calls.clear();
    let (kind, keys) = server.keys(&server.host());
    let way = Way::new((kind, keys))
        .with("repository", "owner/name")
        .with("ghtoken", "ghs_hush");
    let options = ExportOptions::parse(kind, &attributes(&way.pairs())).unwrap();
    let kiln_remote_cache::Destination::Store(store) = &options.destination else {
        panic!()
    };
    let api = format!("http://{}", server.host());
    let environment =
        StoreEnvironment::from_variables(|name| (name == "GITHUB_API_URL").then(|| api.clone()));
    let client = Client::new(ClientOptions::default()).unwrap();
    let place = RemoteStore::open(store, &environment, &client)
        .await
        .unwrap();
    let place = Place::Store(place);
    export(&records, &options, bench.store.content(), Some(&place))
        .await
        .unwrap();
    let calls = service.entries().calls.clone();
    // One list for each scope, the newest index, its next number, the upload, the commit.
    assert_eq!(
        calls.iter().filter(|call| *call == "caches").count(),
        2,
        "{calls:?}"
    );
    assert_eq!(calls.len(), 6, "{calls:?}");
    let keys: Vec<_> = {
        let entries = service.entries();
        let index = entries
            .entries
            .iter()
            .filter(|entry| entry.key.starts_with("index-"));
        index.map(|entry| entry.key.clone()).collect()
    };
    assert_eq!(
        keys,
        ["index-buildkit-1-f04dcc3f#1", "index-buildkit-1-f04dcc3f#2"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_only_read_writes_nothing() {
    let server = Server::start("gha1");
    let claims = r#"{"ac":"[{\"Scope\":\"refs/pull/1/merge\",\"Permission\":1}]","exp":99999999999,"nbf":0}"#;
    let token = ActionsCache::token_with(claims);
    let way = Way::new(server.keys(&server.host())).with("token", &token);
    let bench = Bench::new();
    let records = [record("x", &[], &[&bench.layer("a", "a")])];
    let error = way.export(&bench, &records).await.unwrap_err().to_string();
    assert!(error.contains("the token may only read"), "{error}");
}
