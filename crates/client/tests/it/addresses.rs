//! Address schemes.

use kiln_client::Address;

fn check(text: &str, expected: &str) {
    let shown = match text.parse::<Address>() {
        Ok(Address::Unix(path)) => format!("socket {}", path.display()),
        Ok(Address::Tcp { host, port }) => format!("host {host} port {port}"),
        Ok(Address::Command {
            program, arguments, ..
        }) => format!("{program} {}", arguments.join(" ")),
        Err(error) => {
            assert_eq!(error.address, text);
            error.reason
        }
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn sockets_and_hosts() {
    check("unix:///run/a b.sock", "socket /run/a b.sock");
    check(
        "unix://run/a.sock",
        "the socket's path must be absolute, as in unix:///run/a.sock",
    );
    check("tcp://10.0.0.1:1234", "host 10.0.0.1 port 1234");
    check("tcp://[::1]:1234", "host ::1 port 1234");
    check("tcp://Builder.example:1/", "host Builder.example port 1");
    for wrong in ["tcp://host", "tcp://host:1/path", "tcp://host:1?a=b"] {
        check(wrong, "write it as tcp://HOST:PORT");
    }
    check("tcp://host:99999", "invalid port number");
    check("tcp://:1", "empty host");
}

#[test]
fn containers_and_machines() {
    check(
        "docker-container://buildx_buildkit_x0",
        "docker exec -i buildx_buildkit_x0 buildctl dial-stdio",
    );
    check(
        "docker-container://name?context=other",
        "docker --context=other exec -i name buildctl dial-stdio",
    );
    check(
        "podman-container://name",
        "podman exec -i name buildctl dial-stdio",
    );
    check(
        "nerdctl-container://name?namespace=k8s.io",
        "nerdctl exec --namespace k8s.io -i name buildctl dial-stdio",
    );
    check(
        "kube-pod://pod-0?context=c&namespace=ns&container=box",
        "kubectl --context=c --namespace=ns exec --container=box -i pod-0 -- buildctl dial-stdio",
    );
    check(
        "kube-pod://pod",
        "kubectl --context= --namespace= exec --container= -i pod -- buildctl dial-stdio",
    );
    check("ssh://host", "ssh -- host buildctl dial-stdio");
    check(
        "ssh://me@host:22/run/b.sock",
        "ssh -l me -p 22 -- host buildctl --addr unix:///run/b.sock dial-stdio",
    );
}

#[test]
fn wrong_ones_are_explained() {
    check("docker-container://", "it lacks the container's name");
    check("docker-container://-v", "\"-v\" is not a container's name");
    check("kube-pod://", "it lacks the pod's name");
    check("kube-pod://Pod", "unsupported pod name: \"Pod\"");
    check(
        "kube-pod://pod?namespace=a%20b",
        "unsupported namespace name: \"a b\"",
    );
    check("ssh://", "no host specified");
    check(
        "ssh://me:secret@host",
        "plain-text password is not supported",
    );
    check("ssh://host?a=b", "extra query after the host: \"a=b\"");
    check("ssh://host#a", "extra fragment after the host: \"a\"");
    check(
        "npipe:////./pipe/x",
        "npipe connections are only supported on windows",
    );
    check(
        "fd://3",
        "fd:// is where a daemon listens; a client cannot connect to it",
    );
    for text in ["host:1", "", "https://host:1"] {
        let error = text.parse::<Address>().unwrap_err();
        assert!(error.reason.contains("ssh://"), "{error}");
    }
}

#[test]
fn addresses_are_shown_as_they_were_written() {
    for text in [
        "unix:///run/a.sock",
        "tcp://[::1]:1234",
        "tcp://host:1",
        "ssh://me@host/run/b.sock",
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
}
