//! What is wrong with a scenario, and where.

use std::ops::Range;

use thiserror::Error;

/// A mistake in a scenario. The place is in bytes of its text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Mistake {
    /// What is wrong.
    pub what: String,
    /// Where.
    pub place: Range<usize>,
    /// Said at that place: what was probably meant.
    pub label: Option<String>,
    /// What there is to choose from, or where to read on.
    pub help: Option<String>,
}

impl Mistake {
    /// A mistake at this place.
    pub(super) fn new(place: Range<usize>, what: impl Into<String>) -> Self {
        Self { what: what.into(), place, label: None, help: None }
    }

    /// With advice.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// A word nobody knows, among these.
    pub(super) fn unknown(place: Range<usize>, kind: &str, word: &str, known: &[&str]) -> Self {
        let label = nearest(word, known).map(|near| format!("did you mean `{near}`?"));
        let help = format!("there is {}", listed(known));
        Self { what: format!("unknown {kind} `{word}`"), place, label, help: Some(help) }
    }

    /// Line and column of its beginning, both from 1.
    pub fn line_and_column(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.place.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The word that is most like this one, if any is like it.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(word, candidate);
    known
        .iter()
        .copied()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .filter(|best| likeness(best) >= 0.5)
}

fn listed(words: &[&str]) -> String {
    match words {
        [] => "nothing".into(),
        [only] => format!("`{only}`"),
        [all @ .., last] => {
            let all: Vec<String> = all.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_and_a_far_one_is_not() {
        let known = ["s3-entered", "s4-entered", "off"];
        let near = Mistake::unknown(3..4, "power trigger", "s3-entred", &known);
        assert_eq!(near.label.as_deref(), Some("did you mean `s3-entered`?"));
        assert_eq!(near.help.as_deref(), Some("there is `s3-entered`, `s4-entered` and `off`"));
        assert_eq!(Mistake::unknown(3..4, "power trigger", "banana", &known).label, None);
    }

    #[test]
    fn a_place_is_a_line_and_a_column() {
        let at = |start| Mistake::new(start..start, "x").line_and_column("ab\ncü e\n");
        assert_eq!((at(0), at(3), at(7), at(99)), ((1, 1), (2, 1), (2, 4), (3, 1)));
    }
}
