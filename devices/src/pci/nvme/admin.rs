//! Admin commands (5).

use super::command::Command;
use super::features::Limits;
use super::queue::ADMIN_QUEUE;
use super::registers::MAX_QUEUE_ENTRIES;
use super::status::Status;
use super::{Next, Nvme, Pending, Work, identify, log, prp};
use crate::Context;
use crate::disk;
use crate::pci::dma::scatter;

/// Opcodes.
mod opcode {
    pub const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
    pub const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
    pub const GET_LOG_PAGE: u8 = 0x02;
    pub const DELETE_COMPLETION_QUEUE: u8 = 0x04;
    pub const CREATE_COMPLETION_QUEUE: u8 = 0x05;
    pub const IDENTIFY: u8 = 0x06;
    pub const ABORT: u8 = 0x08;
    pub const SET_FEATURES: u8 = 0x09;
    pub const GET_FEATURES: u8 = 0x0a;
    pub const ASYNCHRONOUS_EVENT: u8 = 0x0c;
}

/// Of a command that creates a queue, in doubleword 11: it is contiguous; of a completion queue: it has interrupts.
const CONTIGUOUS: u16 = 1;
const INTERRUPTS: u16 = 2;
/// Of Get Log Page, in doubleword 10: events of the kind stay hidden.
const RETAIN: u32 = 1 << 15;

/// What Set Features did.
enum Change {
    Done(u32),
    /// The write cache is to be switched off.
    CacheOff,
}

impl Nvme {
    /// Does a command from the admin queue. None: it is answered when something happens.
    pub(super) fn admin(&mut self, command: &Command, cx: &mut Context<'_>) -> Option<Next> {
        let done = match command.opcode {
            _ if command.form != 0 => Err(Status::InvalidField),
            opcode::DELETE_SUBMISSION_QUEUE => self.delete_submission_queue(command, cx),
            opcode::CREATE_SUBMISSION_QUEUE => self.create_submission_queue(command),
            opcode::GET_LOG_PAGE => self.log_page(command, cx),
            opcode::DELETE_COMPLETION_QUEUE => self.delete_completion_queue(command),
            opcode::CREATE_COMPLETION_QUEUE => self.create_completion_queue(command),
            opcode::IDENTIFY => identify::identify(command.word(10) as u8, command.namespace, &self.disk)
                .and_then(|page| send(command, &page, cx)),
            opcode::ABORT => Ok(self.abort(command, cx)),
            opcode::SET_FEATURES => match self.set_features(command) {
                Ok(Change::CacheOff) => return Some(self.switch_cache_off(cx)),
                Ok(Change::Done(result)) => Ok(result),
                Err(status) => Err(status),
            },
            opcode::GET_FEATURES => self.features.get(command, &self.limits()),
            opcode::ASYNCHRONOUS_EVENT if self.events.request(command.identifier) => return None,
            opcode::ASYNCHRONOUS_EVENT => Err(Status::TooManyEventRequests),
            _ => Err(Status::InvalidOpcode),
        };
        Some(match done {
            Ok(result) => Next::answer(Status::Success, result, cx.now),
            Err(status) => Next::answer(status, 0, cx.now),
        })
    }

    fn limits(&self) -> Limits {
        Limits { queues: self.config.queues, write_cache: self.disk.config().has_cache() }
    }

    fn set_features(&mut self, command: &Command) -> Result<Change, Status> {
        let before = self.features;
        let result = self.features.set(command, &self.limits())?;
        if self.features.power_state != before.power_state {
            self.transitions.power_state += 1;
        }
        if before.write_cache && !self.features.write_cache {
            return Ok(Change::CacheOff);
        }
        self.disk.set_write_cache(self.features.write_cache);
        Ok(Change::Done(result))
    }

    /// From when this completes, a flush has nothing to do (6.8): what was completed is flushed first, and what is in flight completes
    /// only when durable.
    fn switch_cache_off(&mut self, cx: &mut Context<'_>) -> Next {
        self.disk.set_write_cache(false);
        self.disk.write_through_in_flight();
        self.disk_work(disk::Command::Flush, Vec::new(), cx)
    }

    /// Number and entries of a queue that can be created (5.3, 5.4).
    fn new_queue(&self, command: &Command) -> Result<(u16, u32), Status> {
        let (number, entries) = command.halves(10);
        let entries = u32::from(entries) + 1;
        if number == ADMIN_QUEUE || number > self.config.queues {
            return Err(Status::InvalidQueueIdentifier);
        }
        if !(2..=MAX_QUEUE_ENTRIES).contains(&entries) || !self.registers.has_entry_sizes() {
            return Err(Status::InvalidQueueSize);
        }
        if command.halves(11).0 & CONTIGUOUS == 0 {
            return Err(Status::InvalidField);
        }
        if !command.prp[0].is_multiple_of(4096) {
            return Err(Status::InvalidPrpOffset);
        }
        Ok((number, entries))
    }

    fn create_completion_queue(&mut self, command: &Command) -> Result<u32, Status> {
        let (number, entries) = self.new_queue(command)?;
        if self.queues.has_completion(number) {
            return Err(Status::InvalidQueueIdentifier);
        }
        let (flags, vector) = command.halves(11);
        if vector >= self.msix.vectors() {
            return Err(Status::InvalidVector);
        }
        let vector = (flags & INTERRUPTS != 0).then_some(vector);
        self.queues.create_completion(number, command.prp[0], entries, vector);
        Ok(0)
    }

    fn create_submission_queue(&mut self, command: &Command) -> Result<u32, Status> {
        let (number, entries) = self.new_queue(command)?;
        let completion = command.halves(11).1;
        if completion == ADMIN_QUEUE || !self.queues.has_completion(completion) {
            return Err(Status::InvalidCompletionQueue);
        }
        if self.queues.has_submission(number) {
            return Err(Status::InvalidQueueIdentifier);
        }
        self.queues.create_submission(number, command.prp[0], entries, completion);
        Ok(0)
    }

    fn delete_submission_queue(&mut self, command: &Command, cx: &mut Context<'_>) -> Result<u32, Status> {
        let number = command.halves(10).0;
        if number == ADMIN_QUEUE || !self.queues.has_submission(number) {
            return Err(Status::InvalidQueueIdentifier);
        }
        for pending in self.pending.take(|pending| pending.submission == number) {
            self.cut_short(pending, Status::AbortedByQueueDeletion, cx);
        }
        self.queues.delete_submission(number);
        Ok(0)
    }

    fn delete_completion_queue(&mut self, command: &Command) -> Result<u32, Status> {
        let number = command.halves(10).0;
        if number == ADMIN_QUEUE || !self.queues.has_completion(number) {
            return Err(Status::InvalidQueueIdentifier);
        }
        if self.queues.is_used(number) {
            return Err(Status::InvalidQueueDeletion);
        }
        self.queues.delete_completion(number);
        Ok(0)
    }

    /// Answers with 0 if the command was aborted, else with 1 (5.1).
    fn abort(&mut self, command: &Command, cx: &mut Context<'_>) -> u32 {
        let (queue, identifier) = command.halves(10);
        let meant = |pending: &Pending| (pending.submission, pending.identifier) == (queue, identifier);
        let found = self.pending.take(meant);
        if queue == ADMIN_QUEUE && self.events.withdraw(identifier) {
            self.answer(queue, identifier, Status::AbortRequested, 0, cx);
            return 0;
        }
        let result = u32::from(found.is_empty());
        for pending in found {
            self.cut_short(pending, Status::AbortRequested, cx);
        }
        result
    }

    /// Answers a command before its time. What a write changed stays changed.
    fn cut_short(&mut self, pending: Pending, status: Status, cx: &mut Context<'_>) {
        if let Work::Disk { request, .. } = pending.work {
            self.disk.abandon(request);
        }
        self.answer(pending.submission, pending.identifier, status, 0, cx);
    }

    fn log_page(&mut self, command: &Command, cx: &mut Context<'_>) -> Result<u32, Status> {
        let log = command.word(10) as u8;
        let mut page = log::page(log, command.namespace, &self.disk)?;
        let (low, high) = (command.halves(10).1, command.halves(11).0);
        let words = (u64::from(low) | u64::from(high) << 16) + 1;
        // Only logs without an offset: LPA says so.
        let length = usize::try_from(words.saturating_mul(4)).unwrap_or(usize::MAX);
        if length as u64 > prp::MAX_TRANSFER {
            return Err(Status::InvalidField);
        }
        page.resize(length, 0);
        send(command, &page, cx)?;
        if log == super::events::ERROR_LOG && command.word(10) & RETAIN == 0 {
            self.events.log_read();
        }
        Ok(0)
    }
}

/// Puts data where the command wants it.
fn send(command: &Command, data: &[u8], cx: &Context<'_>) -> Result<u32, Status> {
    let into = prp::walk(command.prp, data.len() as u64, cx.ram)?;
    scatter(&into, 0, data, cx.ram).map_err(|_| Status::DataTransfer)?;
    Ok(0)
}
