//! "Did you mean": the closest known word to a mistyped one.

/// Words further away than this are no suggestion.
const MAX_DISTANCE: usize = 2;

/// Whether casing counts when words are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Casing {
    /// `Run` and `run` differ.
    Sensitive,
    /// They do not; the suggestion then follows the casing of the mistyped word.
    Insensitive,
}

/// The closest of `known` to `word`; the first one if several are equally close. `None` if nothing is close, or if
/// the word is itself known: then it is not what went wrong.
pub fn closest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    casing: Casing,
) -> Option<String> {
    let fold = |text: &str| match casing {
        Casing::Sensitive => text.to_owned(),
        Casing::Insensitive => text.to_lowercase(),
    };
    let wanted = fold(word);
    let mut best: Option<(usize, String)> = None;
    for candidate in known {
        let candidate = fold(candidate);
        if candidate == wanted {
            return None;
        }
        let limit = best
            .as_ref()
            .map_or(MAX_DISTANCE, |(distance, _)| distance - 1);
        if let Some(distance) = distance_within(&wanted, &candidate, limit) {
            best = Some((distance, candidate));
        }
    }
    let (_, found) = best.filter(|(_, found)| !found.is_empty())?;
    Some(match casing {
        Casing::Sensitive => found,
        Casing::Insensitive => in_casing_of(word, found),
    })
}

/// The end of a message: ` (did you mean x?)`, or nothing.
pub(crate) fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map(|word| format!(" (did you mean {word}?)"))
        .unwrap_or_default()
}

fn in_casing_of(model: &str, word: String) -> String {
    if model == model.to_lowercase() {
        word.to_lowercase()
    } else if model == model.to_uppercase() {
        word.to_uppercase()
    } else {
        word
    }
}

/// The Levenshtein distance of two words if it is at most `limit`.
fn distance_within(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
        if row.iter().all(|&distance| distance > limit) {
            return None;
        }
    }
    row.last().copied().filter(|&distance| distance <= limit)
}
