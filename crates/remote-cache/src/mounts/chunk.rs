//! Cutting data where its content says.

use fastcdc::v2020::FastCDC;

/// Sizes of chunks.
const SMALLEST: usize = 64 << 10;
const AVERAGE: usize = 256 << 10;
pub(super) const LARGEST: usize = 1 << 20;

/// How much is gathered before it is looked at.
const WINDOW: usize = 4 * LARGEST;

/// Data on its way into chunks.
#[derive(Default)]
pub(super) struct Chunker {
    buffer: Vec<u8>,
}

impl Chunker {
    /// Adds data, and hands on the chunks that are complete.
    pub(super) fn push<E>(
        &mut self,
        data: &[u8],
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buffer.extend_from_slice(data);
        match self.buffer.len() < WINDOW {
            true => Ok(()),
            // Where a chunk ends does not depend on what follows once it could be the largest.
            false => self.cut(LARGEST, take),
        }
    }

    /// Hands on the rest: a chunk ends here, whatever comes next.
    pub(super) fn flush<E>(&mut self, take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.cut(1, take)
    }

    fn cut<E>(
        &mut self,
        needed: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        if !self.buffer.is_empty() {
            for chunk in FastCDC::new(&self.buffer, SMALLEST, AVERAGE, LARGEST) {
                if self.buffer.len() - chunk.offset < needed {
                    break;
                }
                done = chunk.offset + chunk.length;
                take(&self.buffer[chunk.offset..done])?;
            }
        }
        self.buffer.drain(..done);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::convert::Infallible;

    /// Bytes that do not repeat, the same each time.
    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let next = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 32) as u8
        });
        next.take(length).collect()
    }

    fn chunks(data: &[u8], step: usize) -> Vec<Vec<u8>> {
        let (mut chunker, mut chunks) = (Chunker::default(), Vec::new());
        let mut take = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            Ok::<_, Infallible>(())
        };
        for piece in data.chunks(step) {
            chunker.push(piece, &mut take).unwrap();
        }
        chunker.flush(&mut take).unwrap();
        chunks
    }

    #[test]
    fn the_same_data_is_cut_in_the_same_places() {
        let data = noise(9_000_001, 1);
        let whole = chunks(&data, data.len());
        assert_eq!(whole.concat(), data);
        assert_eq!(whole, chunks(&data, 70_001));
        assert!(whole.len() > 10);
        assert!(whole.iter().all(|chunk| chunk.len() <= LARGEST));
        assert!(chunks(&[], 1).is_empty());
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let mut data = noise(9_000_000, 2);
        let before: HashSet<_> = chunks(&data, 1 << 20).into_iter().collect();
        data.splice(4_000_000..4_000_000, *b"something else");
        let after = chunks(&data, 1 << 20);
        let new = after.iter().filter(|chunk| !before.contains(*chunk));
        assert!((1..=3).contains(&new.count()));
    }
}
