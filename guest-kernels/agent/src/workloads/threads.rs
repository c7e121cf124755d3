//! A thread bound to each processor, and a token that goes round among them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use agent_protocol::message::Failure;
use nix::sched::sched_getcpu;
use nix::unistd::{Pid, gettid};

use super::differences::Differences;
use super::processors::{self, ONLINE};
use super::work::{PAUSE, Pulse, Work};
use crate::failure::{While, failure};

/// Who has the token, and the bookkeeping that must agree with it.
#[derive(Debug, Default)]
struct Token {
    holder: usize,
    /// Times it was handed on, by anybody.
    passed: u64,
    /// Times each thread handed it on.
    counters: Vec<u64>,
    /// Thread ids; set by each thread when it runs on its processor.
    threads: Vec<Option<Pid>>,
    found: Differences,
}

impl Token {
    /// Everything follows from how often the token was handed on.
    fn verify(&self) -> Result<(), String> {
        let count = self.counters.len() as u64;
        let expected_holder = self.passed % count;
        if self.holder as u64 != expected_holder {
            return Err(format!("token is at thread {}, expected at {expected_holder}", self.holder));
        }
        for (thread, counter) in self.counters.iter().enumerate() {
            let expected = self.passed / count + u64::from((thread as u64) < expected_holder);
            if *counter != expected {
                return Err(format!(
                    "counter of thread {thread}: expected {expected}, found {counter}, after {} hand-overs",
                    self.passed
                ));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Ring {
    processors: Vec<usize>,
    token: Mutex<Token>,
    handed_on: Condvar,
    stop: AtomicBool,
}

impl Ring {
    fn token(&self) -> MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn take_turns(&self, thread: usize) {
        let processor = self.processors[thread];
        if let Err(errno) = processors::bind_this_thread(processor) {
            self.token()
                .found
                .add(format!("thread {thread}: binding to processor {processor}: {}", errno.desc()));
            return;
        }
        self.token().threads[thread] = Some(gettid());
        loop {
            let mut token = self.token();
            while token.holder != thread && !self.stop.load(Ordering::SeqCst) {
                token = self.handed_on.wait(token).unwrap_or_else(PoisonError::into_inner);
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(running) = sched_getcpu()
                && running != processor
            {
                token.found.add(format!("thread {thread} of processor {processor} runs on {running}"));
            }
            let verified = token.verify();
            token.found.note(verified);
            token.counters[thread] = token.counters[thread].wrapping_add(1);
            token.passed = token.passed.wrapping_add(1);
            token.holder = (thread + 1) % self.processors.len();
            drop(token);
            self.handed_on.notify_all();
            if thread == 0 {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// The workload.
#[derive(Debug)]
pub struct Threads {
    ring: Arc<Ring>,
    handles: Vec<JoinHandle<()>>,
    online: String,
}

impl Threads {
    /// A thread for each processor that is online.
    ///
    /// # Errors
    /// If threads do not start, or cannot be bound.
    pub fn new() -> Result<Threads, Failure> {
        Threads::with_list(ONLINE)
    }

    fn with_list(online: &str) -> Result<Threads, Failure> {
        let processors = processors::online(online)?;
        let count = processors.len();
        let token = Token { counters: vec![0; count], threads: vec![None; count], ..Token::default() };
        let ring = Arc::new(Ring {
            processors,
            token: Mutex::new(token),
            handed_on: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let mut threads = Threads { ring, handles: Vec::new(), online: online.to_owned() };
        for thread in 0..count {
            let ring = Arc::clone(&threads.ring);
            let handle = std::thread::Builder::new()
                .name(format!("threads-{thread}"))
                .spawn(move || ring.take_turns(thread))
                .while_doing(|| format!("starting thread {thread} of {count}"))?;
            threads.handles.push(handle);
        }
        threads.wait_until_bound()?;
        Ok(threads)
    }

    fn wait_until_bound(&self) -> Result<(), Failure> {
        loop {
            let mut token = self.ring.token();
            if let Some(difference) = token.found.take().first() {
                return Err(failure(difference));
            }
            if token.threads.iter().all(Option::is_some) {
                return Ok(());
            }
            drop(token);
            std::thread::yield_now();
        }
    }

    fn check_processors(&self, found: &mut Differences) {
        match processors::online(&self.online) {
            Ok(online) if online == self.ring.processors => {}
            Ok(online) => found
                .add(format!("processors online: {:?} at the start, {online:?} now", self.ring.processors)),
            Err(failure) => found.add(failure.to_string()),
        }
        let threads = self.ring.token().threads.clone();
        for (thread, (id, processor)) in threads.into_iter().zip(&self.ring.processors).enumerate() {
            match id.map(processors::bound_to) {
                Some(Ok(bound)) if bound == [*processor] => {}
                Some(Ok(bound)) => {
                    found.add(format!("thread {thread} was bound to processor {processor}, now to {bound:?}"))
                }
                Some(Err(errno)) => {
                    found.add(format!("thread {thread} of processor {processor}: {}", errno.desc()))
                }
                None => found.add(format!("thread {thread} of processor {processor} never ran")),
            }
        }
        for (thread, handle) in self.handles.iter().enumerate() {
            if handle.is_finished() {
                found.add(format!("thread {thread} ended"));
            }
        }
    }
}

impl Work for Threads {
    fn step(&mut self, _: &mut Differences) {}

    fn check(&mut self, found: &mut Differences) {
        self.check_processors(found);
        let mut token = self.ring.token();
        found.note(token.verify());
        token.found.take().into_iter().for_each(|difference| found.add(difference));
    }

    fn pulses(&self) -> Vec<Pulse> {
        let token = self.ring.token();
        let of = |(thread, count): (usize, &u64)| Pulse::new(format!("thread {thread}"), *count);
        token.counters.iter().enumerate().map(of).collect()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.ring.stop.store(true, Ordering::SeqCst);
        // With the lock taken nobody is between looking at `stop` and waiting.
        drop(self.ring.token());
        self.ring.handed_on.notify_all();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::work::Worker;

    #[test]
    fn silent_when_right() {
        let mut worker = Worker::new(Threads::new().unwrap());
        for _ in 0..3 {
            assert_eq!(worker.check(), Vec::<String>::new());
        }
        assert!(worker.work.progress() >= 3);
    }

    #[test]
    fn a_wrong_counter_is_found() {
        let mut worker = Worker::new(Threads::new().unwrap());
        worker.work.ring.token().counters[0] += 7;
        let differences = worker.check();
        assert!(differences[0].starts_with("counter of thread 0: expected "), "{differences:?}");
    }

    #[test]
    fn a_token_at_the_wrong_thread_is_found() {
        let mut token = Token { counters: vec![1, 1, 0], passed: 2, holder: 2, ..Token::default() };
        assert_eq!(token.verify(), Ok(()));
        token.holder = 0;
        assert_eq!(token.verify().unwrap_err(), "token is at thread 0, expected at 2");
    }

    #[test]
    fn a_changed_affinity_is_found() {
        let processors = processors::online(ONLINE).unwrap();
        let [first, .., last] = processors[..] else { return };
        let mut worker = Worker::new(Threads::new().unwrap());
        let id = worker.work.ring.token().threads[0].unwrap();
        processors::bind(id, last).unwrap();
        std::thread::sleep(3 * PAUSE);
        let differences = worker.check();
        let bound = format!("thread 0 was bound to processor {first}, now to [{last}]");
        assert_eq!(differences[0], bound);
        assert_eq!(differences[1], format!("thread 0 of processor {first} runs on {last}"));
    }

    #[test]
    fn a_lost_processor_is_found() {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(ONLINE, list.path()).unwrap();
        let mut worker = Worker::new(Threads::with_list(list.path().to_str().unwrap()).unwrap());
        std::fs::write(list.path(), "0,9\n").unwrap();
        let differences = worker.check();
        assert!(differences[0].ends_with("at the start, [0, 9] now"), "{differences:?}");
    }

    #[test]
    fn a_thread_that_ended_is_found() {
        let mut worker = Worker::new(Threads::new().unwrap());
        worker.check();
        worker.work.ring.stop.store(true, Ordering::SeqCst);
        worker.work.ring.handed_on.notify_all();
        while !worker.work.handles.iter().all(JoinHandle::is_finished) {
            worker.work.ring.handed_on.notify_all();
            std::thread::sleep(PAUSE);
        }
        let differences = worker.check();
        assert!(
            differences.contains(&"thread 0 ended".to_owned()) || differences.len() == 4,
            "{differences:?}"
        );
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused() {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "900\n").unwrap();
        let failure = Threads::with_list(list.path().to_str().unwrap()).unwrap_err();
        assert_eq!(failure.text, "thread 0: binding to processor 900: Invalid argument");
    }
}
