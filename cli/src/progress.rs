//! Long work, shown: a bar on a terminal, a line now and then elsewhere, nothing when quiet.

use std::cell::RefCell;

use guest_kernels::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Shows work under a heading, such as a kernel's name.
pub struct Shown {
    heading: String,
    how: How,
    phase: RefCell<Phase>,
}

#[derive(Clone, Copy)]
enum How {
    Bar,
    Lines,
    Not,
}

#[derive(Default)]
struct Phase {
    bar: Option<ProgressBar>,
    what: String,
    expected: Option<u64>,
    done: u64,
    tenths: u64,
}

impl Shown {
    /// Under a heading.
    pub fn new(heading: &str, quiet: bool) -> Self {
        let how = match (quiet, output::live()) {
            (true, _) => How::Not,
            (false, true) => How::Bar,
            (false, false) => How::Lines,
        };
        Self { heading: heading.to_owned(), how, phase: RefCell::default() }
    }
}

impl Progress for Shown {
    fn begin(&self, what: &str, steps: Option<u64>) {
        let mut phase = self.phase.borrow_mut();
        *phase = Phase { what: what.to_owned(), expected: steps, ..Phase::default() };
        match self.how {
            How::Bar => {
                let bar = steps.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
                let template = match steps {
                    Some(_) => "{prefix}  {bar:30} {percent:>3} %  {elapsed}  {wide_msg}",
                    None => "{prefix}  {spinner} {pos}  {elapsed}  {wide_msg}",
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("━╸─"));
                }
                bar.set_prefix(self.heading.clone());
                bar.set_message(what.to_owned());
                bar.enable_steady_tick(std::time::Duration::from_millis(200));
                phase.bar = Some(bar);
            }
            How::Lines => eprintln!("{}: {what}", self.heading),
            How::Not => {}
        }
    }

    fn step(&self, what: &str) {
        let mut phase = self.phase.borrow_mut();
        phase.done += 1;
        if let Some(bar) = &phase.bar {
            // Estimates fall short at times: the bar stays full then, it does not overflow.
            bar.set_position(phase.expected.map_or(phase.done, |expected| phase.done.min(expected)));
            if !what.is_empty() {
                bar.set_message(what.to_owned());
            }
        } else if let (How::Lines, Some(expected)) = (self.how, phase.expected) {
            let tenths = phase.done * 10 / expected.max(1);
            if tenths > phase.tenths && tenths < 10 {
                phase.tenths = tenths;
                eprintln!("{}: {}: {tenths}0 %", self.heading, phase.what);
            }
        }
    }

    fn end(&self) {
        if let Some(bar) = self.phase.borrow_mut().bar.take() {
            bar.finish_and_clear();
        }
    }
}
