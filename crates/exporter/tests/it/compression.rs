//! Compressed streams: the same bytes whatever the threads, readable by everyone.

use std::io::Write;
use std::process::{Command, Stdio};

use kiln_exporter::compression::{CompressedWriter, Pool};
use kiln_exporter::{Algorithm, Compression};
use rstest::rstest;

/// Bytes that compress somewhat: words of a small pseudo-random vocabulary.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut data = Vec::with_capacity(length + 16);
    while data.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        data.extend_from_slice(format!("{:x} ", (state >> 33) % 5000).as_bytes());
    }
    data.truncate(length);
    data
}

fn compress(data: &[u8], compression: Compression, pool: &Pool, piece: usize) -> Vec<u8> {
    let mut writer = CompressedWriter::new(pool, &compression, Vec::new());
    for piece in data.chunks(piece) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

/// What another program makes of the bytes.
fn decompress(program: &[&str], data: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let data = data.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&data));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[rstest]
#[case(Algorithm::Gzip, &["gzip", "-dc"])]
#[case(Algorithm::Gzip, &["python3", "-c", "import gzip,sys;sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))"])]
#[case(Algorithm::Zstd, &["zstd", "-dc"])]
#[case(Algorithm::Uncompressed, &["cat"])]
fn other_programs_read_it(#[case] algorithm: Algorithm, #[case] program: &[&str]) {
    let pool = Pool::new(2, 32 << 20);
    let compression = Compression {
        algorithm,
        level: None,
        force: false,
    };
    for length in [0, 1, 1 << 20, (5 << 20) + 17] {
        let data = sample(length);
        let compressed = compress(&data, compression, &pool, 100_003);
        assert!(
            decompress(program, &compressed) == data,
            "{length} bytes differ"
        );
    }
}

#[rstest]
#[case(Algorithm::Gzip)]
#[case(Algorithm::Zstd)]
fn bytes_depend_on_nothing_but_input_and_level(#[case] algorithm: Algorithm) {
    let data = sample((9 << 20) + 5);
    let compression = Compression {
        algorithm,
        level: Some(4),
        force: false,
    };
    let reference = compress(&data, compression, &Pool::new(1, 64 << 20), data.len());
    for (threads, memory, piece) in [(2, 64 << 20, 1 << 16), (4, 0, 4099), (3, 5 << 20, 1 << 21)] {
        let other = compress(&data, compression, &Pool::new(threads, memory), piece);
        assert!(
            other == reference,
            "{threads} threads, {memory} bytes, pieces of {piece}"
        );
    }
}

#[rstest]
#[case(Algorithm::Gzip, 9)]
#[case(Algorithm::Zstd, 19)]
fn higher_levels_are_smaller(#[case] algorithm: Algorithm, #[case] high: i32) {
    let data = sample(3 << 20);
    let pool = Pool::new(2, 64 << 20);
    let length = |level| {
        compress(
            &data,
            Compression {
                algorithm,
                level: Some(level),
                force: false,
            },
            &pool,
            1 << 16,
        )
        .len()
    };
    assert!(length(high) < length(1));
}

#[test]
fn gzip_is_no_larger_than_the_usual_one() {
    let data = sample(6 << 20);
    let ours = compress(
        &data,
        Compression::default(),
        &Pool::new(2, 64 << 20),
        1 << 16,
    );
    let theirs = decompress(&["gzip", "-6", "-c"], &data);
    assert!(
        ours.len() <= theirs.len(),
        "{} > {}",
        ours.len(),
        theirs.len()
    );
}

#[test]
fn many_streams_share_one_small_budget() {
    let pool = Pool::new(2, 4 << 20);
    let data = sample(5 << 20);
    let reference = compress(
        &data,
        Compression::default(),
        &Pool::new(1, 64 << 20),
        1 << 16,
    );
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                assert!(compress(&data, Compression::default(), &pool, 1 << 16) == reference)
            });
        }
    });
}

#[test]
fn a_failing_sink_fails_the_stream() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let pool = Pool::new(2, 4 << 20);
    let mut writer = CompressedWriter::new(&pool, &Compression::default(), Full);
    let outcome = writer
        .write_all(&sample(12 << 20))
        .and_then(|()| writer.finish().map(|_| ()));
    assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    // The memory it held is free again.
    assert!(compress(b"x", Compression::default(), &pool, 1).len() > 1);
}
