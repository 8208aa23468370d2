//! CDI devices: what steps get, who lets them, and what is wrong with files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use kiln_engine::{
    BuildError, BuildRequest, DeviceList, DeviceOptions, Engine, EngineOptions, Entitlement,
    ExportRequest, ExportTarget, Frontend,
};
use kiln_llb::build::{LocalOptions, MarshalOptions, Run, State};
use kiln_protocol::pb::CdiDevice;
use kiln_session::{Directories, Session};

/// Two devices, one of which nobody has to be granted.
const TOYS: &str = r#"---
cdiVersion: 0.6.0
kind: vendor.com/toy
annotations:
  org.mobyproject.buildkit.device.class: toys
containerEdits:
  env: [SHARED=yes]
devices:
- name: one
  containerEdits:
    env: [TOY=one, PATH=/bin]
    deviceNodes:
    - path: /dev/vendor/one
      hostPath: /dev/null
      fileMode: 0640
      permissions: rw
    mounts:
    - hostPath: @GIFT@
      containerPath: /gift
      options: [ro, nosuid, bind]
- name: two
  annotations:
    org.mobyproject.buildkit.device.autoallow: "true"
  containerEdits:
    env: [TOY=two]
    deviceNodes:
    - {path: /dev/two, type: c, major: 1, minor: 5}
"#;

/// A device with hooks, and one whose node the host does not have.
const OTHERS: &str = r#"{
    "cdiVersion": "0.5.0",
    "kind": "other.com/x",
    "devices": [
        {"name": "0", "containerEdits": {"hooks": [{"hookName": "prestart", "path": "/bin/true"}]}},
        {"name": "gone", "containerEdits": {"deviceNodes": [{"path": "/dev/kiln-has-no-such-device"}]}},
        {"name": "root", "containerEdits": {"deviceNodes": [{"path": "/etc/x", "hostPath": "/dev/null"}]}}
    ]
}"#;

struct World {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directories = ["cdi/static", "cdi/dynamic", "cdi/none"].map(|it| dir.path().join(it));
        let engine = Engine::open(EngineOptions {
            devices: Some(DeviceOptions {
                directories: directories.to_vec(),
                auto_allowed: BTreeSet::new(),
            }),
            ..EngineOptions::new(dir.path().join("root"))
        });
        Self {
            engine: engine.unwrap(),
            dir,
        }
    }

    /// Puts these files about devices in place of all others.
    fn describe(&self, files: &[(&str, &str)]) {
        let _ = std::fs::remove_dir_all(self.path("cdi"));
        for directory in ["cdi/static", "cdi/dynamic"] {
            std::fs::create_dir_all(self.path(directory)).unwrap();
        }
        for (name, text) in files {
            std::fs::write(self.path("cdi").join(name), text).unwrap();
        }
    }

    async fn list(&self, files: &[(&str, &str)]) -> DeviceList {
        self.describe(files);
        self.engine.devices().await.unwrap()
    }

    fn with_toys() -> Self {
        let world = Self::new();
        kiln_testkit::rootfs::busybox(world.path("rootfs")).unwrap();
        std::fs::create_dir(world.path("gift")).unwrap();
        std::fs::write(world.path("gift/file"), "present").unwrap();
        let gift = world.path("gift").display().to_string();
        let toys = TOYS.replace("@GIFT@", &gift);
        world.describe(&[("static/other.json", OTHERS), ("dynamic/toys.yaml", &toys)]);
        world
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// What `script` prints in a step that asks for `devices`, of which `granted` are.
    async fn run(
        &self,
        devices: &[&str],
        granted: &[&str],
        script: &str,
    ) -> Result<String, BuildError> {
        let run = Run {
            args: ["/bin/sh", "-c", &format!("({script}) > /result 2>&1; true")]
                .map(str::to_owned)
                .to_vec(),
            devices: devices
                .iter()
                .map(|name| CdiDevice {
                    name: name.trim_end_matches('?').to_owned(),
                    optional: name.ends_with('?'),
                })
                .collect(),
            ..Run::default()
        };
        let state = State::local("rootfs", LocalOptions::default());
        let state = state.dir("/").run(run).root;
        let definition = state.marshal(&MarshalOptions::default()).unwrap();
        let session = Session {
            files: Arc::new(Directories {
                directories: [("rootfs".to_owned(), self.path("rootfs"))].into(),
                ..Directories::default()
            }),
            ..Session::empty()
        };
        let granted = granted.iter().map(|name| name.parse::<Entitlement>());
        let request = BuildRequest {
            entitlements: granted.collect::<Result<_, _>>().unwrap(),
            exports: vec![ExportRequest {
                kind: "local".into(),
                attributes: BTreeMap::new(),
                target: ExportTarget::Directory(self.path("out")),
            }],
            ..BuildRequest::new(Frontend::Definition(definition), session)
        };
        self.engine.build(request).await?;
        Ok(std::fs::read_to_string(self.path("out/result")).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_get_their_devices() {
    let world = World::with_toys();
    let script = "echo $SHARED $TOY; stat -c '%F %t:%T %a' /dev/vendor/one; echo x > /dev/vendor/one; \
                  cat /gift/file; echo; touch /gift/x; ls /dev/two";
    let one = world.run(&["vendor.com/toy=one"], &["device"], script);
    assert_eq!(
        one.await.unwrap(),
        "yes one\ncharacter special file 1:3 640\npresent\ntouch: /gift/x: Read-only file system\n\
         ls: /dev/two: No such file or directory\n"
    );
    // All of a kind; of a variable the last device's value counts.
    let script =
        "echo $TOY; ls /dev/vendor; stat -c '%t:%T %a' /dev/two; head -c 2 /dev/two | wc -c";
    for name in ["vendor.com/toy=*", "toys"] {
        let all = world.run(&[name], &["device"], script).await.unwrap();
        assert_eq!(all, "two\none\n1:5 666\n2\n", "{name}");
    }
    let none = world.run(&["vendor.com/toy=three?"], &[], "ls /dev/vendor");
    assert!(none.await.unwrap().contains("No such file"));
}

/// Devices that a step asks for, what is granted, and what the step prints or why there is none.
type Case<'a> = (&'a [&'a str], &'a [&'a str], Result<&'a str, &'a str>);

#[tokio::test(flavor = "multi_thread")]
async fn devices_need_their_users_word() {
    let world = World::with_toys();
    let toy = "echo $TOY";
    let cases: &[Case<'_>] = &[
        // The first of its kind.
        (
            &["vendor.com/toy"],
            &["device=vendor.com/toy=one"],
            Ok("one\n"),
        ),
        (&["vendor.com/toy=two"], &[], Ok("two\n")),
        (
            &["thing"],
            &["device=vendor.com/toy=one,alias=thing"],
            Ok("one\n"),
        ),
        (&["vendor.com/toy=*"], &["device=toys"], Ok("two\n")),
        (
            &["vendor.com/toy=one"],
            &[],
            Err("device vendor.com/toy=one is requested by the build but not allowed"),
        ),
        (
            &["vendor.com/toy=one", "other.com/x=0"],
            &["network.host"],
            Err(
                "devices vendor.com/toy=one, other.com/x=0 are requested by the build but not allowed",
            ),
        ),
        (
            &["vendor.com/toy=one"],
            &["device=vendor.com/toy=two"],
            Err("device vendor.com/toy=one is requested by the build but not allowed"),
        ),
        (
            &["vendor.com/toy=three"],
            &[],
            Err("required device \"vendor.com/toy=three\" is not registered"),
        ),
        (
            &["vendor.com/toy=three"],
            &["device"],
            Err(
                "CDI device injection failed: required device \"vendor.com/toy=three\" is not registered",
            ),
        ),
        (
            &["other.com/x=0"],
            &["device"],
            Err("other.json): hooks of CDI files are not supported yet"),
        ),
        (
            &["other.com/x=gone"],
            &["device"],
            Err("failed to stat CDI host device \"/dev/kiln-has-no-such-device\""),
        ),
        (
            &["other.com/x=root"],
            &["device"],
            Err("\"/etc/x\": nodes can only be made below /dev"),
        ),
    ];
    for (devices, granted, expected) in cases {
        let outcome = world.run(devices, granted, toy).await;
        match expected {
            Ok(text) => assert_eq!(outcome.unwrap(), *text, "{devices:?} {granted:?}"),
            Err(part) => {
                let error = outcome.unwrap_err();
                assert!(error.message.contains(part), "{part:?} is not in {error}");
            }
        }
    }
    for (text, part) in [
        ("device=", None),
        ("device=a/b=c,alias=x", None),
        (
            "device=a/b=c,as=x",
            Some("unknown device config key \"as\""),
        ),
        ("device=a/b=c,x", Some("invalid device config \"x\"")),
        ("network.host=x", Some("unknown entitlement network.host=x")),
    ] {
        let parsed = text.parse::<Entitlement>();
        match part {
            None => assert_eq!(parsed.unwrap().name(), "device"),
            Some(part) => assert!(parsed.unwrap_err().contains(part), "{text}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_told_of_by_their_fields() {
    let spec = |devices: &str| format!("cdiVersion: 0.3.0\nkind: v.com/c\ndevices: [{devices}]\n");
    let device = |edits: &str| spec(&format!("{{name: d, containerEdits: {{{edits}}}}}"));
    let cases: &[(String, &str)] = &[
        (String::new(), ""),
        ("{".into(), ""),
        (spec(""), "devices: there is none"),
        (
            "cdiVersion: 9.9.9\nkind: v.com/c\ndevices: []\n".into(),
            "cdiVersion: invalid version \"9.9.9\"",
        ),
        (
            "cdiVersion: 0.3.0\nkind: v\ndevices: []\n".into(),
            "kind: \"v\" is not of the form vendor/class",
        ),
        (
            "cdiVersion: 0.3.0\nkind: 1/c\ndevices: []\n".into(),
            "kind: invalid vendor \"1\"",
        ),
        (spec("{name: a b}"), "devices[0].name: invalid device name"),
        (
            spec("{name: d}"),
            "devices[0].containerEdits: they are empty",
        ),
        (device("evn: [A=b]"), "unknown field `evn`"),
        (
            device("env: [A]"),
            "devices[0].containerEdits.env[0]: \"A\"",
        ),
        (
            device("deviceNodes: [{path: /dev/x, major: many}]"),
            "devices[0].containerEdits.deviceNodes[0].major: invalid type",
        ),
        (
            device("deviceNodes: [{path: /dev/x, type: z}]"),
            "devices[0].containerEdits.deviceNodes[0].type: \"z\"",
        ),
        (
            device("deviceNodes: [{path: /dev/x, permissions: x}]"),
            "devices[0].containerEdits.deviceNodes[0].permissions",
        ),
        (
            device("mounts: [{hostPath: /a}]"),
            "devices[0].containerEdits.mounts[0].containerPath: it is empty",
        ),
        (
            device("additionalGids: [1]"),
            "cdiVersion: the spec version must be at least v0.7.0, because of additionalGids; it is 0.3.0",
        ),
    ];
    let world = World::new();
    for (text, part) in cases {
        let list = world.list(&[("static/bad.yaml", text)]).await;
        assert!(list.devices.is_empty());
        let [problem] = list.problems.as_slice() else {
            panic!("{text}: {:?}", list.problems);
        };
        let file = format!("CDI file {}: ", world.path("cdi/static/bad.yaml").display());
        let told = problem.strip_prefix(&file).unwrap();
        assert!(told.contains(part), "{text}: {told}");
        assert!(!told.contains('\n'), "{told}");
    }
    // Of two files in one directory none counts, of a later directory's it does.
    let good = device("env: [A=b]");
    let files = [("static/a.yaml", good.as_str()), ("static/b.yaml", &good)];
    let list = world.list(&files).await;
    assert!(list.devices.is_empty());
    assert!(list.problems[0].contains("conflicting device \"v.com/c=d\""));
    let files = [
        ("static/a.yaml", good.as_str()),
        ("dynamic/b.yaml", &good),
        ("static/readme.txt", "?"),
    ];
    let list = world.list(&files).await;
    assert_eq!(list.devices[0].name, "v.com/c=d");
    assert_eq!((list.devices.len(), list.problems.len()), (1, 0));
}
