//! What a campaign follows from. Two campaigns of one identity decide the same states, and decide them alike.

use super::family::Depth;
use crate::history::History;
use crate::kernels::Kernels;
use crate::repro::{Booted, Changed, path_hash};

/// Everything that decides what comes of a campaign, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    parts: Vec<(String, String)>,
}

/// The part that is known once the run is recorded.
const RUN: &str = "recorded run";

impl Identity {
    /// What is known before anything runs. `text` is the scenario's, as it is run.
    pub fn new(name: &str, text: &str, seed: u64, kernels: &Kernels, depth: Depth) -> Self {
        let hash = blake3::hash(text.as_bytes()).to_hex();
        let mut parts = vec![
            ("kjvm".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("scenario".to_owned(), name.to_owned()),
            ("text of the scenario".to_owned(), hash.to_string()),
            ("seed".to_owned(), seed.to_string()),
            ("depth of the search".to_owned(), format!("{depth:?}")),
        ];
        for (number, booted) in (0..).zip(Booted::all(kernels)) {
            let role = if number > 1 { format!("{} {number}", booted.role) } else { booted.role };
            parts.push((format!("kernel {role}"), format!("{} {}", booted.name, booted.blake3)));
            parts.push((format!("initramfs of {role}"), booted.initramfs));
        }
        Self { parts }
    }

    /// As it was kept.
    pub fn of_parts(parts: Vec<(String, String)>) -> Self {
        Self { parts }
    }

    /// With the way that the recorded run went.
    pub fn recorded(mut self, history: &History) -> Self {
        self.parts.push((RUN.to_owned(), path_hash(history)));
        self
    }

    /// Names and values.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.parts().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// How `now` differs from this one. What was not recorded yet does not count.
    pub fn differs_from(&self, now: &Self) -> Vec<Changed> {
        let mut names: Vec<&str> = self.parts().chain(now.parts()).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let is_unknown = |name: &str| name == RUN && (self.value(RUN).is_none() || now.value(RUN).is_none());
        let changed =
            names.into_iter().filter(|name| self.value(name) != now.value(name) && !is_unknown(name));
        let shown = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let mut changed: Vec<Changed> = changed
            .map(|name| Changed {
                what: name.to_owned(),
                recorded: shown(self.value(name)),
                now: shown(now.value(name)),
            })
            .collect();
        // Of the same scenario, the run goes another way because something else is another: that is what one wants to know.
        if changed.len() > 1 {
            changed.retain(|changed| changed.what != RUN);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(parts: &[(&str, &str)]) -> Identity {
        Identity::of_parts(parts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn what_differs_is_named_and_a_run_that_nobody_recorded_yet_does_not_count() {
        let kept = identity(&[("seed", "1"), ("kernel A", "a"), ("kernel B", "b")]);
        assert!(kept.differs_from(&kept.clone()).is_empty());
        let run = identity(&[("seed", "1"), ("kernel A", "a"), ("kernel B", "b"), (RUN, "x")]);
        assert!(kept.differs_from(&run).is_empty() && run.differs_from(&kept).is_empty());
        let other = identity(&[("seed", "2"), ("kernel A", "a"), (RUN, "y")]);
        let changed = run.differs_from(&other);
        let names: Vec<&str> = changed.iter().map(|changed| changed.what.as_str()).collect();
        assert_eq!(names, ["kernel B", "seed"]);
        assert_eq!((changed[0].recorded.as_str(), changed[0].now.as_str()), ("b", "none"));
        let other = identity(&[("seed", "1"), ("kernel A", "a"), ("kernel B", "b"), (RUN, "y")]);
        assert_eq!(run.differs_from(&other)[0].what, RUN);
    }
}
