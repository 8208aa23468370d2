//! The values of `--mount` and `--device`: fields with commas between, which may be quoted as in CSV.

/// A list of fields with commas between that cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// It is empty.
    #[error("EOF")]
    Empty,
    /// A quote within a field that does not start with one.
    #[error("parse error on line 1, column {column}: bare \" in non-quoted-field")]
    BareQuote {
        /// The quote's place, counted from one.
        column: usize,
    },
    /// A quoted field does not end, or goes on after its end.
    #[error("parse error on line 1, column {column}: extraneous or missing \" in quoted-field")]
    Quote {
        /// The place, counted from one.
        column: usize,
    },
}

/// Takes a list of fields apart.
pub(super) fn split(text: &str) -> Result<Vec<String>, FieldsError> {
    let text = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(FieldsError::Empty);
    }
    let mut fields = Vec::new();
    let mut position = 0;
    loop {
        let (field, length) = match text[position..].strip_prefix('"') {
            Some(rest) => quoted(rest, position + 1)?,
            None => bare(&text[position..], position)?,
        };
        fields.push(field);
        position += length;
        if position == text.len() {
            return Ok(fields);
        }
        // Both kinds of field end at a comma or at the end of the text.
        position += 1;
    }
}

/// A field up to the next comma, and its length.
fn bare(rest: &str, position: usize) -> Result<(String, usize), FieldsError> {
    let field = rest.split(',').next().unwrap_or_default();
    match field.find('"') {
        Some(quote) => Err(FieldsError::BareQuote {
            column: position + quote + 1,
        }),
        None => Ok((field.to_owned(), field.len())),
    }
}

/// A field after its opening quote, and its length with quotes. Doubled quotes stand for one.
fn quoted(rest: &str, position: usize) -> Result<(String, usize), FieldsError> {
    let mut field = String::new();
    let mut end = 0;
    loop {
        let Some(quote) = rest[end..].find('"').map(|found| end + found) else {
            return Err(FieldsError::Quote {
                column: position + end + 1,
            });
        };
        field.push_str(&rest[end..quote]);
        end = quote + 1;
        match rest[end..].chars().next() {
            Some('"') => {
                field.push('"');
                end += 1;
            }
            None | Some(',') => return Ok((field, end + 1)),
            Some(_) => {
                return Err(FieldsError::Quote {
                    column: position + quote + 1,
                });
            }
        }
    }
}
