//! Code that is watched from outside: the guest cannot tell, and does the same.
//!
//! A point is an instruction, by linear address, on whatever processor. It is told of *before* each time that a processor is about to
//! execute it, however it came there: by a branch, by falling through, by returning from an interrupt, or single-stepped. An
//! instruction that faulted and is executed again is told of again; a repeated string instruction is told of once. An address in the
//! middle of an instruction is none, and an instruction that cannot be fetched is not about to be executed.
//!
//! Who watches nothing pays nothing; who watches pays for code that is entered for the first time, and for what he watches.

use cpu::bus::Here;
use devices::{Event, Moment, Observer};

use crate::author::AuthorWatch;
use crate::machine::Machine;

/// An instruction to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodePoint {
    /// Its linear address: in 64-bit mode the instruction pointer.
    pub linear: u64,
    /// If it counts only where this address is mapped to: another kernel may run at the same linear addresses.
    pub physical: Option<u64>,
    /// What [`Event::Executed`] calls it.
    pub id: u16,
}

/// All code that is watched in a machine. Looks on, and is no part of the machine.
#[derive(Debug, Default)]
pub struct CodeWatch {
    /// By ascending address.
    points: Vec<CodePoint>,
    /// Who asks for flushes and submits writes.
    pub(crate) authors: Option<AuthorWatch>,
}

impl CodeWatch {
    /// Whether nothing is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.points.is_empty() && self.authors.is_none()
    }

    /// The lowest watched address among so many from this one on.
    pub(crate) fn next(&self, linear: u64, bytes: u64) -> Option<u64> {
        let after = self.points.partition_point(|point| point.linear < linear);
        let point = self.points.get(after).map(|point| point.linear);
        let entries = self.authors.iter().flat_map(AuthorWatch::entries);
        let near = |watched: &u64| watched.checked_sub(linear).is_some_and(|ahead| ahead < bytes);
        point.into_iter().chain(entries).filter(near).min()
    }

    /// An instruction is about to be executed. Returns whether the machine has to stop before it.
    pub(crate) fn tell(&mut self, here: &Here<'_>, at: Moment, observer: &mut dyn Observer) -> bool {
        if let Some(authors) = &mut self.authors {
            authors.executed(here);
        }
        let first = self.points.partition_point(|point| point.linear < here.linear);
        let mut stops = false;
        for point in self.points.iter().skip(first).take_while(|point| point.linear == here.linear) {
            if point.physical.is_none_or(|physical| physical == here.physical) {
                stops |= observer.event(at, Event::Executed { point: point.id });
            }
        }
        stops
    }
}

impl Machine {
    /// Watches these instructions from now on, and no others: [`Event::Executed`] comes before each time that one is executed. An
    /// observer that returns true stops the machine before it ([`crate::Stop::Triggered`], with all registers as the instruction
    /// will find them); going on executes it, and does not tell of it again. Holds through S3 and through a jump into another kernel,
    /// until power comes on or the reset line is pulled: addresses of another kernel mean nothing.
    pub fn watch_code(&mut self, mut points: Vec<CodePoint>) {
        points.sort_unstable();
        if points != self.code_watch.points {
            self.code_watch.points = points;
            // What processors remember of code that is watched now.
            self.engine.forget_jumps();
        }
    }

    /// Code that is watched, by ascending address.
    pub fn watched_code(&self) -> &[CodePoint] {
        &self.code_watch.points
    }
}

#[cfg(test)]
mod tests;
