//! Archives: any bytes are read without a crash and within the limits, and what is read of a plain member can be
//! written and read again.

#![no_main]

use std::io::Read;

use kiln_store::tar::{EntryKind, Header, Limits, Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { entries: 1000, special_bytes: 1 << 16, name_bytes: 4096, total_bytes: 1 << 24 };
    let mut reader = Reader::with_limits(data, limits);
    while let Ok(Some(header)) = reader.next_header() {
        let mut content = Vec::new();
        if reader.by_ref().take(1 << 20).read_to_end(&mut content).is_err() {
            break;
        }
        write_again(header, &content);
    }
});

fn write_again(mut header: Header, content: &[u8]) {
    if matches!(header.kind, EntryKind::GlobalHeader | EntryKind::Other(_)) {
        return;
    }
    header.size = if header.kind == EntryKind::File { content.len() as u64 } else { 0 };
    let mut writer = Writer::new(Vec::new());
    // Not every header that can be read can be said in the forms that are written.
    if writer.entry(&header, &content[..header.size as usize]).is_err() {
        return;
    }
    let archive = writer.finish().expect("writing to memory");
    let again = Reader::new(archive.as_slice()).next_header().expect("our own archive").expect("one member");
    assert_eq!((&again.name, &again.link, again.size), (&header.name, &header.link, header.size));
}
