//! Several things at once, whose words come out one after the other.

use std::io::Write;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Of a thread: more than the runtime gives, as much as a process begins with.
const STACK: usize = 8 << 20;

/// Where somebody's words go: out at once if it is his turn, else when it is.
pub struct Page {
    words: Sender<Words>,
}

enum Words {
    Line(String),
    UnderWay(String),
    Aside(String),
}

impl Page {
    /// A line on standard output.
    pub fn line(&self, text: impl Into<String>) {
        // Nobody listens if standard output is closed, and then nobody misses it.
        let _ = self.words.send(Words::Line(text.into()));
    }

    /// What is being done, on a terminal, until the next word.
    pub fn under_way(&self, text: String) {
        let _ = self.words.send(Words::UnderWay(text));
    }

    /// A line on standard error.
    pub fn aside(&self, text: impl Into<String>) {
        let _ = self.words.send(Words::Aside(text.into()));
    }
}

/// How many things are done at once, if nobody says.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` for each item, so many at once. Results and words are in the order of the items, whatever ends first.
pub fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T, &Page) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (mut pages, mut readers) = (Vec::new(), Vec::new());
    for _ in items {
        let (words, reader) = channel();
        pages.push(Mutex::new(Some(Page { words })));
        readers.push(reader);
    }
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let go_on = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (Some(item), Some(page), Some(result)) =
                (items.get(number), pages.get(number), results.get(number))
            else {
                return;
            };
            let Some(page) = page.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            let done = work(item, &page);
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }
    };
    std::thread::scope(|scope| {
        let threads = (0..jobs.clamp(1, items.len().max(1)))
            .map(|_| std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, go_on))
            .filter(Result::is_ok)
            .count();
        if threads == 0 {
            go_on();
        }
        let mut printer = Printer::default();
        readers.into_iter().flatten().for_each(|words| printer.print(words));
    });
    results
        .into_iter()
        .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

/// Prints words, and on a terminal draws a line of what is under way.
#[derive(Default)]
struct Printer {
    bar: Option<ProgressBar>,
}

impl Printer {
    fn print(&mut self, words: Words) {
        // The line goes before others come: they would be torn by it.
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let _ = match words {
            Words::Line(text) => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{text}").and_then(|()| out.flush())
            }
            Words::Aside(text) => writeln!(std::io::stderr(), "{text}"),
            Words::UnderWay(text) => {
                self.bar = output::live().then(|| moving(text));
                Ok(())
            }
        };
    }
}

fn moving(text: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(text);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_however_many_work() {
        let items: Vec<u64> = (0..20).collect();
        for jobs in [0, 1, 3, 100] {
            let results = side_by_side(&items, jobs, |item, _| {
                std::thread::sleep(std::time::Duration::from_millis(20 - item));
                item * 2
            });
            assert_eq!(results, items.iter().map(|item| item * 2).collect::<Vec<_>>(), "{jobs}");
        }
        let none: Vec<u64> = side_by_side(&[] as &[u64], 2, |item, _| *item);
        assert!(none.is_empty());
    }
}
