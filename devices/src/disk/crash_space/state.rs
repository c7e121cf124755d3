//! One state of a crash space, by what was chosen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What survived a power cut: one choice for each thing a [`CrashSpace`](super::CrashSpace) leaves open. Means nothing without that
/// space; of one space, equal states are equal media and different states are different media.
///
/// As text, for files that repeat a run: `u:` and a letter for each open unit in ascending order, `a` its durable contents, `b` the
/// next, and so on; or, where writes survive as a whole, `w:` and `k` or `l` for each open write in the order of acceptance, kept or
/// lost. A number after a letter repeats it: `w:k294lk4705`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CrashState {
    /// Choices are of writes, not of units.
    tied: bool,
    /// Neighbours differ, none is empty.
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Run {
    choice: u32,
    length: u32,
}

/// A text that is no crash state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no crash state: {reason}")]
pub struct CrashStateSyntax {
    text: String,
    reason: &'static str,
}

const LOST_KEPT: [char; 2] = ['l', 'k'];
const LETTERS: u32 = 26;

impl CrashState {
    /// The state of these choices.
    pub(super) fn of(tied: bool, choices: impl IntoIterator<Item = u32>) -> Self {
        let mut state = Self { tied, runs: Vec::new() };
        for choice in choices {
            state.push(choice, 1);
        }
        state
    }

    fn push(&mut self, choice: u32, length: u32) {
        match self.runs.last_mut() {
            Some(last) if last.choice == choice && last.length.checked_add(length).is_some() => {
                last.length += length;
            }
            _ if length > 0 => self.runs.push(Run { choice, length }),
            _ => {}
        }
    }

    pub(super) fn tied(&self) -> bool {
        self.tied
    }

    pub(super) fn choices(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|run| std::iter::repeat_n(run.choice, run.length as usize))
    }

    /// How many choices it makes.
    pub(super) fn len(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.length)).sum()
    }

    /// Tells states of one space apart.
    pub(super) fn digest(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = Vec::with_capacity(self.runs.len() * 8);
        for run in &self.runs {
            bytes.extend(run.choice.to_le_bytes());
            bytes.extend(run.length.to_le_bytes());
        }
        hasher.update(&bytes);
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        digest
    }
}

impl fmt::Display for CrashState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.tied { "w:" } else { "u:" })?;
        for run in &self.runs {
            match (self.tied, LOST_KEPT.get(run.choice as usize)) {
                (true, Some(letter)) => write!(formatter, "{letter}")?,
                _ => write_letters(formatter, run.choice)?,
            }
            if run.length > 1 {
                write!(formatter, "{}", run.length)?;
            }
        }
        Ok(())
    }
}

/// To the base of 26; all digits but the last are capitals.
fn write_letters(formatter: &mut fmt::Formatter<'_>, choice: u32) -> fmt::Result {
    let digit = |value: u32, first: u8| char::from(first + (value % LETTERS) as u8);
    let mut capitals = Vec::new();
    let mut high = choice / LETTERS;
    while high > 0 {
        capitals.push(digit(high, b'A'));
        high /= LETTERS;
    }
    capitals.iter().rev().try_for_each(|capital| write!(formatter, "{capital}"))?;
    write!(formatter, "{}", digit(choice, b'a'))
}

impl FromStr for CrashState {
    type Err = CrashStateSyntax;

    fn from_str(text: &str) -> Result<Self, CrashStateSyntax> {
        let syntax = |reason| CrashStateSyntax { text: text.into(), reason };
        let tied = match text.get(..2) {
            Some("w:") => true,
            Some("u:") => false,
            _ => return Err(syntax("it starts with `u:` (units) or `w:` (writes)")),
        };
        let mut state = Self { tied, runs: Vec::new() };
        let mut rest = text[2..].chars().peekable();
        while rest.peek().is_some() {
            let mut choice = 0u32;
            loop {
                let (digit, last) = match rest.next() {
                    Some(letter) if tied => {
                        let choice = LOST_KEPT.iter().position(|known| *known == letter);
                        (choice.ok_or_else(|| syntax("writes are `k` (kept) or `l` (lost)"))? as u32, true)
                    }
                    Some(letter @ 'a'..='z') => (letter as u32 - 'a' as u32, true),
                    Some(letter @ 'A'..='Z') => (letter as u32 - 'A' as u32, false),
                    _ => return Err(syntax("a letter is missing")),
                };
                choice = choice
                    .checked_mul(LETTERS)
                    .and_then(|high| high.checked_add(digit))
                    .ok_or_else(|| syntax("no unit has that many versions"))?;
                if last {
                    break;
                }
            }
            let mut length: Option<u32> = None;
            while let Some(digit) = rest.peek().and_then(|digit| digit.to_digit(10)) {
                rest.next();
                let longer = length.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
                length = Some(longer.ok_or_else(|| syntax("a number is too large"))?);
            }
            if length == Some(0) {
                return Err(syntax("nothing is repeated 0 times"));
            }
            state.push(choice, length.unwrap_or(1));
        }
        Ok(state)
    }
}

impl TryFrom<String> for CrashState {
    type Error = CrashStateSyntax;

    fn try_from(text: String) -> Result<Self, CrashStateSyntax> {
        text.parse()
    }
}

impl From<CrashState> for String {
    fn from(state: CrashState) -> Self {
        state.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_is_short() {
        let kept = (0..5000).map(|write| u32::from(write != 294));
        assert_eq!(CrashState::of(true, kept).to_string(), "w:k294lk4705");
        assert_eq!(CrashState::of(false, [0, 1, 1, 25, 26, 700]).to_string(), "u:ab2zBaBAy");
        assert_eq!(CrashState::of(false, []).to_string(), "u:");
    }

    #[test]
    fn other_ways_to_write_a_state_are_the_same_state() {
        assert_eq!("w:kkl1".parse(), Ok(CrashState::of(true, [1, 1, 0])));
        assert_eq!("u:Aab".parse(), Ok(CrashState::of(false, [0, 1])));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let texts = [
            "",
            "k",
            "x:k",
            "w:a",
            "w:3",
            "u:a0",
            "u:A",
            "u:é",
            "u:a4294967296",
            "u:ZZZZZZZZa",
            "w:k l",
            "é",
        ];
        for text in texts {
            assert!(text.parse::<CrashState>().is_err(), "{text}");
        }
        assert_eq!(
            "w:q".parse::<CrashState>().unwrap_err().to_string(),
            "`w:q` is no crash state: writes are `k` (kept) or `l` (lost)"
        );
    }

    proptest! {
        #[test]
        fn text_and_state_are_one(
            choices in prop::collection::vec(prop_oneof![Just(0), Just(1), 0u32..60, any::<u32>()], 0..40),
        ) {
            let state = CrashState::of(false, choices.iter().copied());
            prop_assert_eq!(state.to_string().parse(), Ok(state.clone()));
            let json = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<CrashState>(&json).unwrap(), &state);
            prop_assert_eq!(state.choices().collect::<Vec<_>>(), choices);
            prop_assert_eq!(state.len(), state.choices().count() as u64);
        }

        #[test]
        fn writes_too(kept in prop::collection::vec(0u32..2, 0..60)) {
            let state = CrashState::of(true, kept);
            prop_assert_eq!(state.to_string().parse(), Ok(state));
        }
    }
}
