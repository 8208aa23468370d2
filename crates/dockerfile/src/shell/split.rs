//! Splits expanded text into words.

/// Collects words. Only blanks that the author neither quoted nor escaped, or that come out of a variable, end one.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    words: Vec<String>,
    word: String,
}

impl Splitter {
    /// Text whose blanks end a word.
    pub(super) fn push_splitting(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.end_word()
            } else {
                self.word.push(c)
            }
        }
    }

    /// Text whose blanks belong to the word.
    pub(super) fn push_whole(&mut self, text: &str) {
        self.word.push_str(text);
    }

    /// A character that belongs to the word.
    pub(super) fn push_char(&mut self, c: char) {
        self.word.push(c);
    }

    /// All words. Empty ones are not kept, not even quoted ones.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.end_word();
        self.words
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}
