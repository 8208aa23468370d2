//! Ways to a daemon: sockets, TLS, other programs.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kiln_client::{Address, Client, ConnectOptions, Identity, Tls};
use kiln_protocol::control::control_server::ControlServer;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity as ServerIdentity, Server, ServerTlsConfig};

use crate::server::{Daemon, Script, Scripted};

#[tokio::test]
async fn nobody_there() {
    let address = "unix:///nowhere/at/all.sock".parse().unwrap();
    let error = Client::connect(&address, &ConnectOptions::default())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("failed to dial \"unix:///nowhere/at/all.sock\": "),
        "{text}"
    );
    assert!(text.ends_with(". make sure buildkitd is running"), "{text}");
    assert!(!kiln_client::answers(Path::new("/nowhere/at/all.sock")));
}

#[tokio::test]
async fn a_daemon_that_comes_later_is_waited_for() {
    let daemon = Daemon::start(Script::default());
    let Address::Unix(socket) = daemon.address() else {
        panic!("not a socket");
    };
    let later = daemon.dir.path().join("later.sock");
    let options = ConnectOptions {
        wait: true,
        timeout: Some(Duration::from_secs(60)),
        ..ConnectOptions::default()
    };
    let address = Address::Unix(later.clone());
    let (client, ()) = tokio::join!(Client::connect(&address, &options), async {
        std::os::unix::fs::symlink(&socket, &later).unwrap();
    });
    assert_eq!(client.unwrap().info().await.unwrap().version, "v9");
}

#[tokio::test]
async fn a_daemon_that_says_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("silent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let options = ConnectOptions {
        wait: true,
        timeout: Some(Duration::from_millis(50)),
        ..ConnectOptions::default()
    };
    let error = Client::connect(&Address::Unix(socket), &options)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no answer within 50ms"),
        "{error}"
    );
}

/// Stands for `docker exec`: a program whose standard streams lead to a socket.
fn through(daemon: &Daemon) -> Address {
    let Address::Unix(socket) = daemon.address() else {
        panic!("not a socket");
    };
    let script = format!(
        "import os,socket,sys,threading\n\
         s=socket.socket(socket.AF_UNIX)\n\
         s.connect({:?})\n\
         def up():\n\
         \x20while True:\n\
         \x20\x20d=os.read(0,65536)\n\
         \x20\x20if not d: break\n\
         \x20\x20s.sendall(d)\n\
         threading.Thread(target=up,daemon=True).start()\n\
         while True:\n\
         \x20d=s.recv(65536)\n\
         \x20if not d: break\n\
         \x20os.write(1,d)\n",
        socket.to_str().unwrap()
    );
    Address::Command {
        written: "test://".into(),
        program: "python3".into(),
        arguments: vec!["-c".into(), script],
    }
}

#[tokio::test]
async fn programs_carry_connections() {
    let daemon = Daemon::start(Script::default());
    let client = Client::connect(&through(&daemon), &ConnectOptions::default())
        .await
        .unwrap();
    assert_eq!(client.info().await.unwrap().version, "v9");
}

#[tokio::test]
async fn programs_that_fail_are_quoted() {
    let failing = |program: &str, arguments: &[&str]| Address::Command {
        written: "test://".into(),
        program: program.into(),
        arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
    };
    let text = async |address: Address| {
        let connected = Client::connect(&address, &ConnectOptions::default()).await;
        match connected {
            Err(error) => error.to_string(),
            Ok(client) => client.info().await.unwrap_err().to_string(),
        }
    };
    let said = text(failing("sh", &["-c", "echo no such container >&2; exit 3"])).await;
    assert!(said.contains("no such container"), "{said}");
    assert!(said.contains("exit status: 3"), "{said}");
    let said = text(failing("no-such-program", &[])).await;
    assert!(said.contains("no-such-program"), "{said}");
}

/// Makes an authority and certificates that it signs, for a server and a client.
fn make_certificates(dir: &Path) {
    let run = |line: &str| {
        let output = Command::new("sh")
            .args(["-ec", line])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
         -subj /CN=authority -keyout ca.key -out ca.pem",
    );
    std::fs::write(
        dir.join("server.ext"),
        "subjectAltName=DNS:builder.example\n",
    )
    .unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for name in ["server", "client"] {
        run(&format!(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
               -keyout {name}.key -out {name}.csr\n\
             openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
               -extfile {name}.ext -out {name}.pem"
        ));
    }
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(ServerIdentity::from_pem(
            read("server.pem"),
            read("server.key"),
        ))
        .client_ca_root(Certificate::from_pem(read("ca.pem")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
    };
    let service = ControlServer::new(Scripted(Arc::new(Script::default())));
    let server = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(service);
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let path = |name: &str| dir.path().join(name);
    let good = Tls {
        server_name: Some("builder.example".into()),
        ca: Some(path("ca.pem")),
        identity: Some(Identity {
            certificate: path("client.pem"),
            key: path("client.key"),
        }),
    };
    let ask = async |tls: Option<Tls>| {
        let options = ConnectOptions {
            tls,
            timeout: Some(Duration::from_secs(60)),
            ..ConnectOptions::default()
        };
        let client = Client::connect(&address, &options)
            .await
            .map_err(|error| error.to_string())?;
        client.info().await.map_err(|error| error.to_string())
    };
    assert_eq!(ask(Some(good.clone())).await.unwrap().version, "v9");

    let wrong_name = Tls {
        server_name: None,
        ..good.clone()
    };
    let error = ask(Some(wrong_name)).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let no_identity = Tls {
        identity: None,
        ..good.clone()
    };
    assert!(ask(Some(no_identity)).await.is_err());
    assert!(ask(None).await.is_err());
    let no_file = Tls {
        ca: Some(path("none.pem")),
        ..good.clone()
    };
    let error = ask(Some(no_file)).await.unwrap_err();
    assert!(
        error.starts_with("could not read CA certificate"),
        "{error}"
    );
    let not_a_key = Tls {
        identity: Some(Identity {
            certificate: path("client.pem"),
            key: path("ca.pem"),
        }),
        ..good
    };
    let error = ask(Some(not_a_key)).await.unwrap_err();
    assert!(error.starts_with("could not read client key"), "{error}");
    serving.abort();
}
