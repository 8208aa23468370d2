//! Filters in containerd's syntax, for whatever has named fields: `type==source.local,inuse`, `description~=/pulled/`.

use regex::Regex;

use crate::store::StoreError;

/// Several filters, of which one must match; none at all match everything.
#[derive(Debug, Default)]
pub struct Filters(Vec<Vec<Selector>>);

/// One field and what it must be.
#[derive(Debug)]
struct Selector {
    field: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Option<Regex>),
}

impl Filters {
    /// Parses all of them.
    pub fn parse<T: AsRef<str>>(filters: &[T]) -> Result<Filters, StoreError> {
        filters
            .iter()
            .map(|filter| Parser::new(filter.as_ref()).selectors())
            .collect::<Result<_, _>>()
            .map(Filters)
    }

    /// Whether something is wanted, given the values of those of its fields that are present. Parts of a field's
    /// name are joined by dots.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|all| all.iter().all(|selector| selector.matches(&field)))
    }
}

impl Selector {
    fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        let value = field(&self.field);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.is_some_and(|value| value == *wanted),
            Test::NotEqual(unwanted) => value.unwrap_or_default() != *unwanted,
            // As in containerd, a pattern that does not compile matches nothing.
            Test::Matches(pattern) => pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(&value.unwrap_or_default())),
        }
    }
}

/// Reads one filter from left to right.
struct Parser<'a> {
    text: &'a str,
    position: usize,
}

/// Which quotes a value may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Usual,
    /// Also `/` and `|`, which spare patterns their backslashes.
    Patterns,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, position: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn selectors(mut self) -> Result<Vec<Selector>, StoreError> {
        if self.text.is_empty() {
            return Ok(Vec::new());
        }
        let mut selectors = vec![self.selector()?];
        while let Some(next) = self.peek() {
            if next != ',' {
                return Err(self.error(format!("unexpected input: {next}")));
            }
            self.position += 1;
            selectors.push(self.selector()?);
        }
        Ok(selectors)
    }

    fn selector(&mut self) -> Result<Selector, StoreError> {
        let mut field = self.field()?;
        while self.peek() == Some('.') {
            self.position += 1;
            field = format!("{field}.{}", self.field()?);
        }
        let test = match self.peek() {
            None | Some(',') => Test::Present,
            _ => match self.operator()? {
                "==" => Test::Equal(self.value(Quotes::Usual)?),
                "!=" => Test::NotEqual(self.value(Quotes::Usual)?),
                _ => Test::Matches(Regex::new(&self.value(Quotes::Patterns)?).ok()),
            },
        };
        Ok(Selector { field, test })
    }

    fn field(&mut self) -> Result<String, StoreError> {
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            return self.quoted(quote);
        }
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let name: String = self
            .rest()
            .chars()
            .take_while(|character| is_part(*character))
            .collect();
        if name.is_empty() {
            return Err(self.error("expected field or quoted".to_owned()));
        }
        self.position += name.len();
        Ok(name)
    }

    fn operator(&mut self) -> Result<&'static str, StoreError> {
        let found = ["==", "!=", "~="]
            .into_iter()
            .find(|operator| self.rest().starts_with(operator));
        match found {
            Some(operator) => {
                self.position += operator.len();
                Ok(operator)
            }
            None => Err(self.error(r#"expected an operator ("=="|"!="|"~=")"#.to_owned())),
        }
    }

    fn value(&mut self, quotes: Quotes) -> Result<String, StoreError> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => return self.quoted(quote),
            Some(quote @ ('/' | '|')) if quotes == Quotes::Patterns => return self.quoted(quote),
            _ => {}
        }
        let is_end = |character: char| character == ',' || character.is_whitespace();
        let value: String = self
            .rest()
            .chars()
            .take_while(|character| !is_end(*character))
            .collect();
        if value.is_empty() {
            return Err(self.error("expected value or quoted".to_owned()));
        }
        self.position += value.len();
        Ok(value)
    }

    /// A quoted text with Go's escapes. Between pattern quotes a backslash stands for itself, unless it precedes the
    /// quote.
    fn quoted(&mut self, quote: char) -> Result<String, StoreError> {
        let start = self.position;
        let mut characters = self.rest().char_indices().skip(1);
        let mut text = String::new();
        while let Some((offset, character)) = characters.next() {
            if character == quote {
                self.position = start + offset + quote.len_utf8();
                return Ok(text);
            }
            if character != '\\' {
                text.push(character);
                continue;
            }
            match characters.next().map(|(_, escaped)| escaped) {
                Some(escaped) if escaped == quote || escaped == '\\' => text.push(escaped),
                Some('n') if quote != '/' && quote != '|' => text.push('\n'),
                Some('t') if quote != '/' && quote != '|' => text.push('\t'),
                Some(escaped) if quote == '/' || quote == '|' => text.extend(['\\', escaped]),
                _ => return Err(self.error("unquoting failed: quote syntax error".to_owned())),
            }
        }
        Err(self.error("quoted literal not terminated".to_owned()))
    }

    fn error(&self, reason: String) -> StoreError {
        let filter = match self.peek() {
            Some(here) => {
                let (before, after) =
                    (&self.text[..self.position], &self.rest()[here.len_utf8()..]);
                format!("{before} >|{here}|< {after}")
            }
            None => self.text.to_owned(),
        };
        StoreError::Filter { filter, reason }
    }
}
