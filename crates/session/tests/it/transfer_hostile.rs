//! Ends of a transfer that do not keep to the rules.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kiln_protocol::fsutil::packet::PacketType;
use kiln_protocol::fsutil::{Packet, Stat};
use kiln_session::transfer::{
    Announced, Link, Others, OutgoingTree, Owners, Sockets, TransferError, deliver, send,
};
use kiln_store::walk::{Filter, WalkRoot};
use rstest::rstest;

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const SOCKET: u32 = 1 << 24;

fn packet(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

fn entry(path: &str, mode: u32, link: &str, size: i64) -> Packet {
    Packet {
        stat: Some(Stat {
            path: path.as_bytes().to_vec().into(),
            linkname: link.as_bytes().to_vec().into(),
            mode: mode | 0o755,
            size,
            ..Stat::default()
        }),
        ..packet(PacketType::PacketStat)
    }
}

fn file(path: &str) -> Packet {
    entry(path, 0, "", 4)
}

fn directory(path: &str) -> Packet {
    entry(path, DIRECTORY, "", 0)
}

fn end() -> Packet {
    packet(PacketType::PacketStat)
}

fn data(id: u32, content: &'static str) -> Packet {
    Packet {
        id,
        data: content.into(),
        ..packet(PacketType::PacketData)
    }
}

/// What is left in a directory, apart from directories.
fn files_in(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => waiting.push(entry.path()),
                false => found.push(entry.file_name().to_string_lossy().into_owned()),
            }
        }
    }
    found
}

#[rstest]
#[case::parent(vec![file("../x")], "leads out of the directory")]
#[case::parent_inside(vec![directory("a"), file("a/../../x")], "leads out of the directory")]
#[case::absolute(vec![file("/x")], "it is absolute")]
#[case::empty(vec![file("")], "it is empty")]
#[case::not_clean(vec![directory("a"), file("a//b")], "it is not clean")]
#[case::dot(vec![file("./x")], "it is not clean")]
#[case::slash_at_the_end(vec![directory("a/")], "it is not clean")]
#[case::zero(vec![file("a\0b")], "it has a zero byte")]
#[case::twice(vec![file("a"), file("a")], "it was sent before")]
#[case::disorder(vec![file("b"), file("a")], "it is out of order")]
#[case::back(vec![directory("a"), file("b"), file("a/c")], "it is out of order")]
#[case::no_parent(vec![file("a/b")], "the directory it is in was not sent")]
#[case::below_a_file(vec![file("a"), file("a/b")], "the directory it is in was not sent")]
#[case::below_a_link(vec![entry("a", SYMLINK, "/", 0), file("a/b")], "the directory it is in was not sent")]
#[case::link_to_nowhere(vec![entry("a", 0, "b", 0)], "a link to a file that was not sent before")]
#[case::link_outside(vec![entry("a", 0, "../../etc/passwd", 0)], "a link to a file that was not sent before")]
#[case::link_to_a_directory(vec![directory("a"), entry("b", 0, "a", 0)], "a link to a file that was not sent before")]
#[case::link_to_a_symlink(vec![entry("a", SYMLINK, "/etc", 0), entry("b", 0, "a", 0)], "a link to a file that was not sent before")]
#[case::no_target(vec![entry("a", SYMLINK, "", 0)], "a symbolic link without target")]
#[case::socket(vec![entry("a", SOCKET, "", 0)], "it is of an unknown type")]
#[case::two_types(vec![entry("a", SYMLINK | DIRECTORY, "b", 0)], "it is of an unknown type")]
#[case::negative(vec![entry("a", 0, "", -1)], "its size is negative")]
#[case::unasked(vec![data(0, "x")], "invalid file request 0")]
#[case::unasked_end(vec![directory("a"), data(0, "")], "invalid file request 0")]
#[case::unasked_empty(vec![entry("a", 0, "", 0), data(0, "x")], "invalid file request 0")]
#[case::after_its_end(vec![file("a"), file("b"), data(0, "1234"), data(0, ""), data(0, "5")], "invalid file request 0")]
#[case::torn(vec![file("a"), data(0, "123"), data(0, "")], "a: 3 of 4 bytes were sent")]
#[case::nothing_sent(vec![file("a"), data(0, "")], "a: 0 of 4 bytes were sent")]
#[case::more_entries(vec![file("a"), end(), file("b")], "unexpected entry after the end of the list")]
#[case::two_ends(vec![file("a"), end(), end()], "unexpected entry after the end of the list")]
#[case::early_farewell(vec![packet(PacketType::PacketFin)], "unexpected end of the transfer")]
#[case::request(vec![packet(PacketType::PacketReq)], "unexpected request from the sender")]
#[case::unknown(vec![Packet { r#type: 77, ..Packet::default() }], "unexpected packet of type 77")]
#[case::ends_in_the_list(vec![file("a")], "ended the file transfer before it was complete")]
#[case::ends_in_a_file(vec![file("a"), end(), data(0, "12")], "ended the file transfer before it was complete")]
#[case::its_own_error(vec![Packet { data: "no disk".into(), ..packet(PacketType::PacketErr) }], "reports: no disk")]
#[tokio::test]
async fn senders(#[case] packets: Vec<Packet>, #[case] expected: &str) {
    let dir = tempfile::tempdir().expect("directory");
    let to = dir.path().join("to");
    let (link, mut answers) = Link::new(stream::iter(packets.into_iter().map(Ok)));
    let delivered = tokio::spawn(deliver(link, to.clone(), Others::Keep));
    let mut told = Vec::new();
    while let Some(packet) = answers.next().await {
        let packet = packet.expect("the receiver sends no status");
        if packet.r#type() == PacketType::PacketErr {
            told.push(String::from_utf8_lossy(&packet.data).into_owned());
        }
    }
    let error = delivered
        .await
        .expect("no panic")
        .expect_err("it is refused")
        .to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(told, [error], "the sender is told why");
    for name in files_in(&to) {
        let content = fs::symlink_metadata(to.join(&name)).map(|meta| match meta.is_file() {
            true => fs::read_to_string(to.join(&name)).expect("read"),
            false => String::new(),
        });
        let content = content.expect("stat");
        assert!(!name.starts_with(".kiln"), "{name} is left");
        assert!(
            ["", "1234"].contains(&content.as_str()),
            "half of {name} is left"
        );
    }
    let around: Vec<_> = fs::read_dir(dir.path()).expect("list").collect();
    assert_eq!(around.len(), 1, "nothing is made outside");
}

#[tokio::test]
async fn a_sender_that_begins_too_many_files() {
    let dir = tempfile::tempdir().expect("directory");
    let to = dir.path().join("to");
    let files = (0..1000).map(|number| file(&format!("f{number:04}")));
    let begun = (0..1000).map(|number| data(number, "12"));
    let packets: Vec<_> = files.chain([end()]).chain(begun).map(Ok).collect();
    let (link, answers) = Link::new(stream::iter(packets));
    let drain = tokio::spawn(answers.for_each(|_| async {}));
    let error = deliver(link, to.clone(), Others::Keep)
        .await
        .expect_err("it is refused");
    assert!(
        error.to_string().contains("files are under way at once"),
        "{error}"
    );
    assert_eq!(files_in(&to), [""; 0]);
    drain.await.expect("no panic");
}

/// More content than one transfer may hold in memory, in pieces of several files at once.
#[tokio::test]
async fn much_content_of_interleaved_files() {
    const PIECE: usize = 700 << 10;
    let dir = tempfile::tempdir().expect("directory");
    let to = dir.path().join("to");
    let names: Vec<String> = (0..8).map(|number| format!("f{number}")).collect();
    let mut packets: Vec<Packet> = names
        .iter()
        .map(|name| entry(name, 0, "", (PIECE * 6) as i64))
        .collect();
    packets.push(end());
    for round in 0..6_u8 {
        packets.extend((0..8).map(|id| Packet {
            id,
            data: vec![round + id as u8; PIECE].into(),
            ..packet(PacketType::PacketData)
        }));
    }
    packets.extend((0..8).map(|id| data(id, "")));
    let (farewell, received) = tokio::sync::oneshot::channel::<()>();
    let last = stream::once(async move {
        received.await.expect("the receiver's last word");
        Ok(packet(PacketType::PacketFin))
    });
    let (link, mut answers) = Link::new(stream::iter(packets.into_iter().map(Ok)).chain(last));
    let drain = tokio::spawn(async move {
        let mut farewell = Some(farewell);
        while let Some(answer) = answers.next().await {
            let kind = answer.expect("packet").r#type();
            if kind == PacketType::PacketFin {
                let farewell = farewell.take().expect("it comes once");
                farewell.send(()).expect("the sender waits");
            }
        }
    });
    deliver(link, to.clone(), Others::Keep)
        .await
        .expect("transfer");
    drain.await.expect("no panic");
    for (id, name) in names.iter().enumerate() {
        let content = fs::read(to.join(name)).expect("read");
        let expected: Vec<u8> = (0..6)
            .flat_map(|round| std::iter::repeat_n(round + id as u8, PIECE))
            .collect();
        assert!(content == expected, "{name}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().expect("directory");
    let to = dir.path().join("to");
    fs::create_dir(&to).expect("directory");
    fs::write(to.join("old"), "old").expect("write");
    let large = vec![1_u8; 1 << 20];
    let packets = vec![
        entry("new", 0, "", 9 << 20),
        entry("old", 0, "", 9 << 20),
        end(),
        Packet {
            id: 0,
            data: large.clone().into(),
            ..packet(PacketType::PacketData)
        },
        Packet {
            id: 1,
            data: large.into(),
            ..packet(PacketType::PacketData)
        },
    ];
    let packets = stream::iter(packets.into_iter().map(Ok)).chain(stream::pending());
    let (link, mut answers) = Link::new(packets);
    let delivery = tokio::spawn(deliver(link, to.clone(), Others::Keep));
    for _ in 0..2 {
        let request = answers.next().await.expect("request").expect("packet");
        assert_eq!(request.r#type(), PacketType::PacketReq);
    }
    // Both files have been begun.
    wait_until(|| files_in(&to).len() == 3).await;
    delivery.abort();
    wait_until(|| files_in(&to) == ["old"]).await;
    assert_eq!(fs::read_to_string(to.join("old")).expect("read"), "old");
}

async fn wait_until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it happens");
}

#[rstest]
#[case::unknown(vec![request(9)], "invalid file id 9")]
#[case::twice(vec![request(1), request(1)], "invalid file id 1")]
#[case::of_a_directory(vec![request(0)], "invalid file id 0")]
#[case::entry(vec![file("x")], "unexpected packet of type 0 from the receiver")]
#[case::data(vec![data(0, "x")], "unexpected packet of type 2 from the receiver")]
#[case::unknown_type(vec![Packet { r#type: 99, ..Packet::default() }], "unexpected packet of type 99")]
#[case::gone(vec![], "ended the file transfer before it was complete")]
#[case::its_own_error(vec![Packet { data: "disk full".into(), ..packet(PacketType::PacketErr) }], "reports: disk full")]
#[tokio::test]
async fn receivers(#[case] packets: Vec<Packet>, #[case] expected: &str) {
    let dir = tempfile::tempdir().expect("directory");
    fs::create_dir(dir.path().join("a")).expect("directory");
    fs::write(dir.path().join("b"), "content").expect("write");
    let path = dir.path().to_owned();
    // They come once everything is announced.
    let (announced, all) = tokio::sync::oneshot::channel::<()>();
    let packets = stream::once(async move { drop(all.await) })
        .flat_map(move |()| stream::iter(packets.clone().into_iter().map(Ok)));
    let (link, mut answers) = Link::new(packets);
    let make = move |stop: &kiln_session::transfer::StopFlag| {
        let announced = Announced {
            owners: Owners::Root,
            mtime: None,
            sockets: Sockets::EmptyFiles,
        };
        let root = WalkRoot::open(&path).expect("directory");
        OutgoingTree::scan(root, &Filter::default(), announced, stop)
    };
    let sent = tokio::spawn(send(link, make, Arc::new(|_| {})));
    let mut announced = Some(announced);
    while let Some(answer) = answers.next().await {
        let Ok(answer) = answer else { break };
        if answer.r#type() == PacketType::PacketStat && answer.stat.is_none() {
            drop(announced.take());
        }
    }
    let error = sent.await.expect("no panic").expect_err("it is refused");
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!matches!(error, TransferError::Internal(_)), "{error}");
}

fn request(id: u32) -> Packet {
    Packet {
        id,
        ..packet(PacketType::PacketReq)
    }
}
