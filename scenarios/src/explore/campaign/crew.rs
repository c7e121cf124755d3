//! Workers, each with a machine of its own. They take units in order; who has nothing left goes on with a boot that another one has begun.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use super::{ExploreError, LOOK};
use crate::explore::set::Set;
use crate::explore::survey::{Survey, Unit};
use crate::explore::tree::{Effort, Given, Leaf};

/// Of a thread: more than the runtime gives, as much as a process begins with.
pub(super) const STACK: usize = 8 << 20;
/// Leaves that wait to be taken in, of each worker: if the store is slow, nobody runs far ahead of it.
const AHEAD: usize = 4;

/// What workers say.
pub enum Said {
    /// A boot of this unit came to its end, and took so much more.
    Leaf(usize, Box<Leaf>, Effort),
    /// It cannot go on.
    Failed(ExploreError),
}

/// Something to do, for this unit.
enum Work {
    Unit(Set),
    Begun(Box<Given>),
}

/// Work, and whether it is wanted.
pub struct Crew {
    work: Mutex<VecDeque<(usize, Work)>>,
    more: Condvar,
    /// Workers that are at work, and those that wait for some.
    busy: AtomicUsize,
    hungry: AtomicUsize,
    stopped: AtomicBool,
}

impl Crew {
    /// For this work.
    pub fn new(units: Vec<Unit>) -> Self {
        let work = units.into_iter().map(|unit| (unit.number, Work::Unit(unit.set))).collect();
        let (busy, hungry) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { work: Mutex::new(work), more: Condvar::new(), busy, hungry, stopped: AtomicBool::new(false) }
    }

    /// Starts so many workers, or as many as the host has threads for. What they say ends when the last of them is done.
    ///
    /// # Errors
    /// There is not even one.
    pub fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        survey: &'scope Survey<'_>,
        jobs: usize,
    ) -> io::Result<Receiver<Said>> {
        let (says, said) = sync_channel(jobs.max(1).saturating_mul(AHEAD));
        for number in 0..jobs.max(1) {
            let says = says.clone();
            let worker = Builder::new().stack_size(STACK);
            match worker.spawn_scoped(scope, move || self.work(survey, &says)) {
                Ok(_) => {}
                Err(error) if number == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(said)
    }

    /// Boots that are under way are left where they stand, and no other begins.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(usize, Work)>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do. None: there is nothing any more, and nobody who could give something.
    fn next(&self) -> Option<(usize, Work)> {
        let mut queue = self.queue();
        self.hungry.fetch_add(1, Ordering::Relaxed);
        let next = loop {
            if self.is_stopped() {
                break None;
            }
            if let Some(work) = queue.pop_front() {
                // Counted before the queue is free again: whoever finds it empty knows of everybody who may fill it.
                self.busy.fetch_add(1, Ordering::Relaxed);
                break Some(work);
            }
            if self.busy.load(Ordering::Relaxed) == 0 {
                break None;
            }
            // Now and then somebody who stopped or died is noticed.
            queue = self.more.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.hungry.fetch_sub(1, Ordering::Relaxed);
        next
    }

    fn give(&self, unit: usize, given: Given) {
        self.queue().push_back((unit, Work::Begun(Box::new(given))));
        self.more.notify_one();
    }

    fn work(&self, survey: &Survey<'_>, says: &SyncSender<Said>) {
        if let Err(error) = self.units(survey, says) {
            // Who does not listen any more has his reasons.
            let _ = says.send(Said::Failed(error));
        }
    }

    fn units(&self, survey: &Survey<'_>, says: &SyncSender<Said>) -> Result<(), ExploreError> {
        let mut worker = survey.worker()?;
        let mut before = Effort::default();
        while let Some((unit, work)) = self.next() {
            let _busy = Busy(self);
            match work {
                Work::Unit(set) => worker.begin(set),
                Work::Begun(given) => worker.take(*given),
            }
            while !self.is_stopped() {
                let Some(leaf) = worker.next_leaf_while(&|| !self.is_stopped())? else { break };
                let now = worker.tree().effort();
                let more = now.since(&before);
                before = now;
                if says.send(Said::Leaf(unit, Box::new(leaf), more)).is_err() {
                    return Ok(());
                }
                // Units are there to be taken first.
                if self.hungry.load(Ordering::Relaxed) > 0
                    && self.queue().is_empty()
                    && let Some(given) = worker.give()
                {
                    self.give(unit, given);
                }
            }
        }
        Ok(())
    }
}

/// Somebody is at work; whatever becomes of him, he is not for ever.
struct Busy<'a>(&'a Crew);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let _queue = self.0.queue();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.more.notify_all();
    }
}
