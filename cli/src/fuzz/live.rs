//! How far a campaign is: two lines on a terminal, a line now and then elsewhere, nothing when quiet.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use scenarios::explore::campaign::Progress;

use crate::output;

/// Between two lines where nobody can redraw one.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a terminal.
const GLANCE: Duration = Duration::from_millis(100);

/// Shows it.
pub struct Live {
    bar: Option<ProgressBar>,
    quiet: bool,
    budget: Option<Duration>,
    begun: Instant,
    shown: Option<Instant>,
    /// When boots began, and how many there were before.
    first: Option<(Instant, u64)>,
}

impl Live {
    /// Before anything is executed.
    pub fn new(budget: Option<Duration>, begun: Instant, quiet: bool) -> Self {
        let bar = (!quiet && output::live()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}\n  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, quiet, budget, begun, shown: None, first: None }
    }

    /// So far it is.
    pub fn show(&mut self, progress: &Progress) {
        let now = Instant::now();
        let (from, before) = *self.first.get_or_insert((now, progress.effort.executed));
        let pause = if self.bar.is_some() { GLANCE } else { PAUSE };
        // The first line comes when there is something to tell.
        let last = *self.shown.get_or_insert(if self.bar.is_some() { self.begun } else { now });
        if self.quiet || now.duration_since(last) < pause {
            return;
        }
        self.shown = Some(now);
        let executed = progress.effort.executed.saturating_sub(before);
        let rate = executed as f64 / now.duration_since(from).as_secs_f64().max(0.001);
        let left = self.budget.map(|budget| budget.saturating_sub(self.begun.elapsed()));
        let [first, second] = lines(progress, rate, left);
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(first);
                bar.set_message(second);
                bar.tick();
            }
            None => eprintln!("{first}; {second}"),
        }
    }

    /// It is over.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn lines(progress: &Progress, rate: f64, left: Option<Duration>) -> [String; 2] {
    let Progress { points, states, effort, undecided, findings, .. } = progress;
    let left = left.map_or(String::new(), |left| format!(", {} left", output::duration(left.as_secs_f64())));
    [
        format!("{} cut points, {states} states, {undecided} undecided", points.total()),
        format!("{} boots, {rate:.1} a second, {findings} findings{left}", effort.executed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_say_how_far_it_is() {
        let mut progress = Progress { states: 900, undecided: 300, findings: 2, ..Progress::default() };
        progress.effort.executed = 40;
        let [first, second] = lines(&progress, 12.34, Some(Duration::from_secs(70)));
        assert_eq!(first, "0 cut points, 900 states, 300 undecided");
        assert_eq!(second, "40 boots, 12.3 a second, 2 findings, 1 min 10 s left");
        assert!(lines(&progress, 1.0, None)[1].ends_with("2 findings"));
    }
}
