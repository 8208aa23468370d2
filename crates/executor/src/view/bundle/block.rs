//! Certificates in the text of a bundle: what is added, and how it is found again.

const BEGIN: &str = "# kiln proxy CA begin";
const END: &str = "# kiln proxy CA end";
const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const PEM_END: &[u8] = b"-----END CERTIFICATE-----";

/// What is added to a bundle.
#[derive(Debug)]
pub(super) struct Block {
    text: Vec<u8>,
    /// Bodies of its certificates. Equal ones are equal certificates, however the lines are broken.
    certificates: Vec<Vec<u8>>,
}

impl Block {
    pub(super) fn new(pem: &str) -> Block {
        let certificates = pieces(pem.as_bytes()).filter_map(|piece| match piece {
            Piece::Certificate { body, .. } => Some(body),
            Piece::Line(_) => None,
        });
        let end = if pem.ends_with('\n') { "" } else { "\n" };
        Block {
            certificates: certificates.collect(),
            // The first line end belongs to us: what is before need not have one.
            text: format!("\n{BEGIN}\n{pem}{end}{END}\n").into_bytes(),
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether one of the certificates is in a bundle.
    pub(super) fn is_in(&self, bundle: &[u8]) -> bool {
        pieces(bundle).any(|piece| self.is_mine(&piece))
    }

    /// The bundle without the block, and without its certificates wherever else they are.
    pub(super) fn taken_out(&self, bundle: &[u8]) -> Vec<u8> {
        let mut left = bundle.to_vec();
        // The last one first: whether something follows one is told by what is there without the others.
        while let Some(at) = find_last(&left, &self.text) {
            let after = at + self.text.len();
            let joins = after < left.len() && at > 0 && left[at - 1] != b'\n';
            left.drain(at + usize::from(joins)..after);
        }
        let kept = pieces(&left).filter(|piece| !self.is_mine(piece));
        kept.flat_map(|piece| piece.text().to_vec()).collect()
    }

    fn is_mine(&self, piece: &Piece<'_>) -> bool {
        match piece {
            Piece::Certificate { body, .. } => self.certificates.contains(body),
            Piece::Line(line) => {
                let line = line.trim_ascii();
                line == BEGIN.as_bytes() || line == END.as_bytes()
            }
        }
    }
}

fn find_last(text: &[u8], part: &[u8]) -> Option<usize> {
    let mut windows = text.windows(part.len());
    windows.rposition(|window| window == part)
}

/// A part of a bundle.
enum Piece<'a> {
    /// The lines of a certificate, and what is between the first and the last one without white space.
    Certificate { text: &'a [u8], body: Vec<u8> },
    /// Any other line, with its end.
    Line(&'a [u8]),
}

impl<'a> Piece<'a> {
    fn text(&self) -> &'a [u8] {
        match self {
            Piece::Certificate { text, .. } | Piece::Line(text) => text,
        }
    }
}

/// All of a bundle, piece by piece.
fn pieces(bundle: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        let piece = certificate(rest).unwrap_or(Piece::Line(line(rest)?));
        rest = &rest[piece.text().len()..];
        Some(piece)
    })
}

/// The first line of a text, if there is one.
fn line(text: &[u8]) -> Option<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').next()
}

/// The certificate that a text begins with.
fn certificate(text: &[u8]) -> Option<Piece<'_>> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut length = lines
        .next()
        .filter(|line| line.trim_ascii() == PEM_BEGIN)?
        .len();
    let mut body = Vec::new();
    for line in lines {
        length += line.len();
        let line = line.trim_ascii();
        if line == PEM_END {
            let text = &text[..length];
            return Some(Piece::Certificate { text, body });
        }
        if line.starts_with(b"-----") {
            return None;
        }
        body.extend(line);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_was_added_can_be_taken_out() {
        let block = Block::new(&pem("QUJD\nREVG"));
        let own = text(block.text().to_vec());
        let check = |bundle: &str, expected: &str| {
            assert_eq!(
                text(block.taken_out(bundle.as_bytes())),
                expected,
                "{bundle}"
            );
        };
        for before in [
            "",
            "\n",
            "# a\n",
            "# a",
            &pem("eHl6"),
            pem("eHl6").trim_end(),
        ] {
            check(before, before);
            check(&format!("{before}{own}"), before);
            check(&format!("{before}{own}{own}"), before);
        }
        // Something was added after it.
        check(&format!("# a\n{own}# b\n"), "# a\n# b\n");
        check(&format!("# a{own}# b"), "# a\n# b");
        check(&format!("{own}# b"), "# b");
        // Only the certificate is left, or other line ends were made.
        let other = pem("eHl6");
        check(
            &format!("{other}{}{other}", pem("QUJDREVG")),
            &format!("{other}{other}"),
        );
        check(&own.replace('\n', "\r\n"), "\r\n");
        check(
            &format!("# kiln proxy CA begin\n{other}# kiln proxy CA end\n"),
            &other,
        );
        // What is no certificate stays.
        let broken = "-----BEGIN CERTIFICATE-----\nQUJDREVG\n";
        check(broken, broken);
        check(&format!("{broken}{}", pem("QUJDREVG")), broken);
    }

    #[test]
    fn certificates_are_known_by_their_content() {
        let block = Block::new(&format!("{}{}", pem("QUJD\nREVG"), pem("eHl6")));
        let check = |bundle: &str, expected: bool| {
            assert_eq!(block.is_in(bundle.as_bytes()), expected, "{bundle}");
        };
        check("", false);
        check(&pem("QUJD"), false);
        check(&pem("QUJDREVG"), true);
        check(&format!("# a\n{}", pem(" eHl6\r")), true);
    }
}
