//! Unpacking an archive in place of copying it, as `ADD` does with local archives.

use std::fs::File;
use std::io::{BufReader, Read};

use super::copy::CopyRequest;
use super::decompress::decompress;
use super::error::TreeError;
use super::extract::{ExtractOwner, Extractor};
use super::metadata::Follow;
use super::root::Root;
use crate::path;
use crate::tar::{EntryKind, Header, Limits, Reader};

impl Root {
    /// Unpacks `from` of the source into the directory `to` of this root, if it is a regular file with an archive in
    /// it. Tells whether it is.
    pub(super) fn unpack_archive(
        &self,
        source: &Self,
        from: &[u8],
        to: &str,
        request: &CopyRequest,
    ) -> Result<bool, TreeError> {
        let from = source.resolve(&path::clean(&[b"/", from].concat()), Follow::Yes)?;
        let from = String::from_utf8_lossy(&from).into_owned();
        let Ok(file) = source.open_file(&from) else {
            return Ok(false);
        };
        let Some((mut archive, first)) = first_member(file) else {
            return Ok(false);
        };

        let dest = self.resolve(path::clean_str(to).as_bytes(), Follow::Yes)?;
        self.make_dirs(
            &dest,
            &CopyRequest {
                mode: None,
                ..request.clone()
            }
            .parent_attributes(),
        )?;
        let inner = self
            .open_dir(&dest)
            .map_err(|error| TreeError::os("open", &dest, error))?;
        let inner = Self::from(inner.into_fd());
        let owner = request
            .owner
            .map_or(ExtractOwner::Archive, ExtractOwner::Fixed);
        unpack(&inner, owner, &mut archive, first).map_err(|error| TreeError::Archive {
            path: from,
            source: error.into(),
        })?;
        Ok(true)
    }

    /// Unpacks an archive into this root, with the attributes it gives the root itself. Nobody but root may give files
    /// away or make devices: for others, both are left out.
    ///
    /// # Errors
    /// The archive is malformed or exceeds the limits, or the kernel refuses; what was unpacked until then stays.
    pub fn unpack(&self, archive: impl Read, limits: Limits) -> Result<(), TreeError> {
        let owner = match rustix::process::geteuid().is_root() {
            true => ExtractOwner::Archive,
            false => ExtractOwner::Process,
        };
        let failed = |path: &[u8], source: std::io::Error| TreeError::Archive {
            path: String::from_utf8_lossy(path).into_owned(),
            source: source.into(),
        };
        let mut extractor = Extractor::new(self, owner);
        let mut reader = Reader::with_limits(archive, limits);
        let mut own = None;
        while let Some(header) = reader.next_header().map_err(|it| failed(b"/", it.into()))? {
            if header.kind == EntryKind::GlobalHeader {
                continue;
            }
            let member = |extractor: &mut Extractor<'_>, reader: &mut _| match extractor
                .spot(&header.name)?
            {
                Some(spot) => extractor.member(&header, &spot, reader).map(|()| None),
                None => extractor.attributes(&header).map(Some),
            };
            let found = member(&mut extractor, &mut reader);
            own = found.map_err(|it| failed(&header.name, it))?.or(own);
        }
        extractor.finish().map_err(|it| failed(b"/", it))?;
        match own {
            Some(attributes) => attributes
                .set(&self.open_dir(b"/").map_err(|it| failed(b"/", it))?, c".")
                .map_err(|it| failed(b"/", it)),
            None => Ok(()),
        }
    }
}

/// The archive in a file, if it starts with one.
fn first_member(file: File) -> Option<(Reader<Box<dyn Read + Send>>, Header)> {
    let mut archive = Reader::new(decompress(BufReader::with_capacity(256 << 10, file)).ok()?);
    let first = archive.next_header().ok()??;
    Some((archive, first))
}

fn unpack(
    dest: &Root,
    owner: ExtractOwner,
    archive: &mut Reader<impl Read>,
    first: Header,
) -> std::io::Result<()> {
    let mut extractor = Extractor::new(dest, owner);
    let mut next = Some(first);
    while let Some(header) = next {
        let place = |error: std::io::Error| {
            let name = header.path().display();
            std::io::Error::new(
                error.kind(),
                format!("{name}: {}", super::error::reason(&error)),
            )
        };
        // The archive's own root and global records say nothing about a file.
        if header.kind != EntryKind::GlobalHeader
            && let Some(spot) = extractor.spot(&header.name).map_err(place)?
        {
            extractor.member(&header, &spot, archive).map_err(place)?;
        }
        next = archive.next_header()?;
    }
    extractor.finish().map(drop)
}
