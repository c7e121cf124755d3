//! A watcher of clocks: none goes backwards, on whatever processor it is read; they keep their distance from each other
//! across sleeps, and run at the same rate between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;

use agent_protocol::message::Failure;

use super::clock::{Clock, MILLISECOND, Nanoseconds, ReadClock, SECOND};
use super::differences::{Differences, SharedDifferences};
use super::processors;
use super::work::{PAUSE, Pulse, Work};
use crate::failure::{While, failure};

/// Realtime and boottime are both corrected from the RTC after a sleep, which counts whole seconds.
const DRIFT: Nanoseconds = 3 * SECOND / 2;
/// A comparison of rates is made over at least this time, and its base renewed after ten times of it.
const RATE_SPAN: Nanoseconds = SECOND;
/// Reading two clocks "at once" must not take longer than this to count.
const BRACKET: Nanoseconds = MILLISECOND;

/// Clocks that all threads watch together.
const WATCHED: [Clock; 3] = [Clock::Monotonic, Clock::MonotonicRaw, Clock::Boottime];
const WATCHERS: usize = 2;
const BURST: u32 = 20;

/// What the watching threads share.
struct Shared {
    reader: Arc<dyn ReadClock>,
    /// Latest time anybody has seen, for each of [`WATCHED`].
    latest: [AtomicI64; 3],
    bursts: [AtomicU64; WATCHERS],
    found: SharedDifferences,
    stop: AtomicBool,
}

impl Shared {
    /// Reads every clock once. What is read must not lie before what anybody had read when we began.
    fn watch(&self) -> Result<(), String> {
        for (clock, latest) in WATCHED.into_iter().zip(&self.latest) {
            let seen = latest.load(Ordering::SeqCst);
            let now = self.reader.now(clock)?;
            latest.fetch_max(now, Ordering::SeqCst);
            if now < seen {
                let back = seen.saturating_sub(now);
                return Err(format!("{}: {now} ns read after {seen} ns: back by {back} ns", clock.name()));
            }
        }
        Ok(())
    }

    fn watch_until_stopped(&self, watcher: usize, processor: usize) {
        // The more processors the better, but a watcher that may not choose is one still.
        let _ = processors::bind_this_thread(processor);
        while !self.stop.load(Ordering::SeqCst) {
            for _ in 0..BURST {
                if let Err(difference) = self.watch() {
                    self.found.add(format!("{difference}, on processor {processor}"));
                }
            }
            self.bursts[watcher].fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(PAUSE);
        }
    }
}

/// Monotonic and raw time at one moment.
#[derive(Clone, Copy)]
struct Moment {
    monotonic: Nanoseconds,
    raw: Nanoseconds,
}

impl Moment {
    /// `None` if we were interrupted each time.
    fn now(reader: &dyn ReadClock) -> Result<Option<Moment>, String> {
        for _ in 0..10 {
            let monotonic = reader.now(Clock::Monotonic)?;
            let raw = reader.now(Clock::MonotonicRaw)?;
            if reader.now(Clock::Monotonic)?.saturating_sub(monotonic) < BRACKET {
                return Ok(Some(Moment { monotonic, raw }));
            }
        }
        Ok(None)
    }
}

/// The workload.
pub struct Clocks {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Realtime minus boottime at the start.
    offset: Nanoseconds,
    rate_base: Option<Moment>,
    samples: u64,
}

impl Clocks {
    /// Starts the watching threads.
    ///
    /// # Errors
    /// If the clocks cannot be read at all, or threads do not start.
    pub fn new(reader: Arc<dyn ReadClock>) -> Result<Clocks, Failure> {
        let (offset, _) = offset(&*reader).map_err(failure)?;
        let shared = Arc::new(Shared {
            reader,
            latest: [const { AtomicI64::new(0) }; 3],
            bursts: [const { AtomicU64::new(0) }; WATCHERS],
            found: SharedDifferences::default(),
            stop: AtomicBool::new(false),
        });
        let online = processors::online(processors::ONLINE)?;
        let mut clocks =
            Clocks { shared: Arc::clone(&shared), threads: Vec::new(), offset, rate_base: None, samples: 0 };
        for (watcher, processor) in online.into_iter().cycle().take(WATCHERS).enumerate() {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("clocks-{watcher}"))
                .spawn(move || shared.watch_until_stopped(watcher, processor));
            clocks.threads.push(thread.while_doing(|| "starting a thread that watches clocks".into())?);
        }
        Ok(clocks)
    }

    /// Boottime is monotonic time and more; realtime keeps its distance from boottime.
    fn distances(&self) -> Result<(), String> {
        let reader = &*self.shared.reader;
        let (monotonic, boottime) = (reader.now(Clock::Monotonic)?, reader.now(Clock::Boottime)?);
        if boottime < monotonic {
            return Err(format!("boottime {boottime} ns is less than monotonic {monotonic} ns"));
        }
        let (offset, uncertainty) = offset(reader)?;
        let moved = offset.saturating_sub(self.offset);
        if moved.saturating_abs() > DRIFT.saturating_add(uncertainty) {
            return Err(format!(
                "realtime moved by {} ms against boottime since the start",
                moved / MILLISECOND
            ));
        }
        Ok(())
    }

    /// What the vDSO says lies between what the system call says before and after.
    fn two_ways(&self) -> Result<(), String> {
        for clock in [Clock::Monotonic, Clock::Boottime, Clock::Realtime] {
            let before = self.shared.reader.now(clock)?;
            let asked = self.shared.reader.by_system_call(clock)?;
            let after = self.shared.reader.now(clock)?;
            if !(before..=after).contains(&asked) {
                let name = clock.name();
                return Err(format!(
                    "{name}: the system call says {asked} ns, the vDSO {before} before and {after} after"
                ));
            }
        }
        Ok(())
    }

    /// Raw and monotonic time run at the same rate, to 5 %.
    fn rates(&mut self) -> Result<(), String> {
        let Some(now) = Moment::now(&*self.shared.reader)? else { return Ok(()) };
        let base = *self.rate_base.get_or_insert(now);
        let monotonic = now.monotonic.saturating_sub(base.monotonic);
        if monotonic < RATE_SPAN {
            return Ok(());
        }
        if monotonic > 10 * RATE_SPAN {
            self.rate_base = Some(now);
        }
        let raw = now.raw.saturating_sub(base.raw);
        if raw.saturating_sub(monotonic).saturating_abs() > monotonic / 20 + 2 * BRACKET {
            let (raw, monotonic) = (raw / MILLISECOND, monotonic / MILLISECOND);
            return Err(format!(
                "monotonic_raw advanced by {raw} ms while monotonic advanced by {monotonic} ms"
            ));
        }
        Ok(())
    }
}

/// Realtime minus boottime, and by how much it may be wrong because reading takes time.
fn offset(reader: &dyn ReadClock) -> Result<(Nanoseconds, Nanoseconds), String> {
    let before = reader.now(Clock::Boottime)?;
    let realtime = reader.now(Clock::Realtime)?;
    let half = reader.now(Clock::Boottime)?.saturating_sub(before) / 2;
    Ok((realtime.saturating_sub(before).saturating_sub(half), half.saturating_abs()))
}

impl Work for Clocks {
    fn step(&mut self, found: &mut Differences) {
        found.note(self.shared.watch());
        found.note(self.distances());
        found.note(self.two_ways());
        found.note(self.rates());
        self.samples = self.samples.wrapping_add(1);
    }

    fn check(&mut self, found: &mut Differences) {
        self.step(found);
        self.shared.found.move_to(found);
    }

    fn pulses(&self) -> Vec<Pulse> {
        let watchers = self.shared.bursts.iter().enumerate().map(|(watcher, bursts)| {
            Pulse::new(format!("watching thread {watcher}"), bursts.load(Ordering::SeqCst))
        });
        std::iter::once(Pulse::new("samples", self.samples)).chain(watchers).collect()
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::clock::{KernelClocks, LyingClocks};
    use crate::workloads::work::Worker;

    /// What a check says after clocks were made to lie.
    fn after(lie: impl FnOnce(&LyingClocks)) -> Vec<String> {
        let clocks = Arc::new(LyingClocks::default());
        let mut worker = Worker::new(Clocks::new(Arc::<LyingClocks>::clone(&clocks)).unwrap());
        assert_eq!(worker.check(), Vec::<String>::new());
        lie(&clocks);
        (0..3).for_each(|_| worker.step());
        std::thread::sleep(2 * PAUSE);
        worker.check()
    }

    fn fires(differences: &[String], text: &str) {
        assert!(differences.iter().any(|difference| difference.contains(text)), "{text}: {differences:?}");
    }

    #[test]
    fn silent_on_the_kernels_clocks() {
        let mut worker = Worker::new(Clocks::new(Arc::new(KernelClocks)).unwrap());
        for _ in 0..15 {
            worker.step();
            std::thread::sleep(PAUSE);
        }
        assert_eq!(worker.check(), Vec::<String>::new());
    }

    #[test]
    fn silent_across_a_sleep() {
        let hour = 3600 * SECOND;
        let slept = |clocks: &LyingClocks| {
            clocks.step(Clock::Boottime, hour);
            clocks.step(Clock::Realtime, hour + SECOND);
        };
        assert_eq!(after(slept), Vec::<String>::new());
    }

    #[test]
    fn a_step_back_is_found_by_every_thread() {
        let back = after(|clocks| clocks.step(Clock::Monotonic, -SECOND));
        fires(&back, "back by 9");
        let back = after(|clocks| clocks.step(Clock::Boottime, -SECOND));
        fires(&back, "boottime: ");
    }

    #[test]
    fn a_watching_thread_names_its_processor() {
        let clocks = Arc::new(LyingClocks::default());
        let watching = Clocks::new(Arc::<LyingClocks>::clone(&clocks)).unwrap();
        std::thread::sleep(2 * PAUSE);
        clocks.step(Clock::Monotonic, -10 * SECOND);
        std::thread::sleep(3 * PAUSE);
        let mut found = Differences::default();
        watching.shared.found.move_to(&mut found);
        fires(&found.take(), ", on processor ");
    }

    #[test]
    fn a_boottime_that_forgot_is_found() {
        fires(&after(|clocks| clocks.step(Clock::Monotonic, 1 << 60)), "is less than monotonic");
    }

    #[test]
    fn realtime_that_was_not_corrected_is_found() {
        let slept = after(|clocks| clocks.step(Clock::Boottime, 10 * SECOND));
        fires(&slept, "realtime moved by -1000");
        let set = after(|clocks| clocks.step(Clock::Realtime, 2 * SECOND));
        fires(&set, "realtime moved by ");
    }

    #[test]
    fn raw_time_that_jumps_is_found() {
        let jumped = after(|clocks| {
            clocks.step(Clock::Monotonic, 2 * SECOND);
            clocks.step(Clock::Boottime, 2 * SECOND);
            clocks.step(Clock::Realtime, 2 * SECOND);
        });
        fires(&jumped, "monotonic_raw advanced by ");
    }

    #[test]
    fn a_stale_vdso_is_found() {
        let apart = after(|clocks| {
            clocks.steps[4].store(SECOND, Ordering::SeqCst);
        });
        fires(&apart, "the system call says");
    }
}
