//! What the controller does by itself: fetches commands, answers those whose time has come, starts and stops.

use super::queue::ADMIN_QUEUE;
use super::registers::{Effect, Notice, Shutdown};
use super::status::Status;
use super::{Events, Features, Next, Nvme, Pending, Queues, ShuttingDown, Work, io};
use crate::disk::Command;
use crate::disk::Completion;
use crate::pci::dma::scatter;
use crate::{Context, Event};

/// An event said stop.
struct Stop;

impl Nvme {
    /// Whether queues are served: the driver started the controller, nothing went wrong, and it may access memory.
    pub(super) fn is_live(&self) -> bool {
        self.registers.ready && !self.registers.fatal && self.space.is_bus_master()
    }

    /// Does all that can be done now, until an event says stop.
    pub(super) fn run(&mut self, cx: &mut Context<'_>) {
        if !self.disk.advance(cx) && self.complete_due(cx).is_ok() {
            self.report_events(cx);
            // What stops the machine is no error: the rest is done when it goes on.
            let _ = self.fetch(cx);
        }
    }

    fn fetch(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        for queue in self.queues.submission_numbers() {
            while self.is_live() {
                let command = match self.queues.fetch(queue, cx.ram) {
                    Ok(Some(command)) => command,
                    Ok(None) => break,
                    Err(_) => {
                        self.fail();
                        break;
                    }
                };
                let (submission, identifier) = (queue, command.identifier);
                let Next { due, work, stop } = if queue == ADMIN_QUEUE {
                    let Some(next) = self.admin(&command, cx) else { continue };
                    next
                } else {
                    self.io(&command, cx)
                };
                self.pending.insert(due, Pending { submission, identifier, work });
                if stop {
                    return Err(Stop);
                }
            }
        }
        self.report_events(cx);
        Ok(())
    }

    fn complete_due(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        if let Some(shutdown) =
            self.shutting_down.take_if(|shutdown| shutdown.due.is_some_and(|due| due <= cx.now))
        {
            // A drive that cannot flush shuts down all the same.
            let Completion { result: _, stop } = self.disk.complete(shutdown.request, cx);
            self.registers.shutdown = Shutdown::Complete;
            if stop {
                return Err(Stop);
            }
        }
        while self.is_live()
            && let Some(pending) = self.pending.take_due(cx.now)
        {
            if self.complete(pending, cx) {
                return Err(Stop);
            }
        }
        Ok(())
    }

    /// Returns whether an event says stop.
    fn complete(&mut self, pending: Pending, cx: &mut Context<'_>) -> bool {
        let (status, result, stop) = match pending.work {
            Work::Answer { status, result } => (status, result, false),
            Work::Disk { request, kind, into } => {
                let Completion { result, stop } = self.disk.complete(request, cx);
                let status = match result {
                    Ok(data) => {
                        scatter(&into, 0, &data, cx.ram).map_or(Status::DataTransfer, |()| Status::Success)
                    }
                    Err(error) => io::failure(&error, kind),
                };
                (status, 0, stop)
            }
        };
        self.answer(pending.submission, pending.identifier, status, result, cx);
        stop
    }

    /// Answers a command, with an interrupt if its queue has one.
    pub(super) fn answer(
        &mut self,
        submission: u16,
        identifier: u16,
        status: Status,
        result: u32,
        cx: &mut Context<'_>,
    ) {
        match self.queues.answer(submission, identifier, status, result, cx.ram) {
            Ok(Some(vector)) => self.msix.signal(vector, &self.space, cx),
            Ok(None) => {}
            Err(_) => self.fail(),
        }
    }

    fn report_events(&mut self, cx: &mut Context<'_>) {
        while self.is_live()
            && let Some((identifier, event)) = self.events.take()
        {
            self.answer(ADMIN_QUEUE, identifier, Status::Success, event, cx);
        }
    }

    /// Its queues are not in memory: the driver has to reset the controller (CSTS.CFS).
    fn fail(&mut self) {
        tracing::warn!(
            disk = self.disk.config().id,
            "NVMe controller: fatal status, a queue is not in memory"
        );
        self.registers.fatal = true;
    }

    /// The driver wrote a register. Returns whether an event said stop.
    pub(super) fn follow(&mut self, effect: Effect, cx: &mut Context<'_>) -> bool {
        match effect {
            Effect::Nothing => false,
            Effect::Enabled => {
                self.enable();
                self.registers.ready && self.tell(true, cx)
            }
            Effect::Disabled => {
                self.disable();
                self.tell(false, cx)
            }
            Effect::ShutDown(notice) => self.shut_down(notice, cx),
        }
    }

    fn tell(&self, started: bool, cx: &mut Context<'_>) -> bool {
        cx.emit(Event::FrontEnd { disk: self.disk.config().id, started })
    }

    fn enable(&mut self) {
        let Some(admin) = self.registers.admin_queues() else {
            self.registers.fatal = true;
            return;
        };
        self.queues.create_completion(ADMIN_QUEUE, admin.completion, admin.completion_entries, Some(0));
        self.queues.create_submission(ADMIN_QUEUE, admin.submission, admin.submission_entries, ADMIN_QUEUE);
        self.registers.ready = true;
    }

    /// Controller reset (7.3.1): commands in flight are forgotten, what they wrote is not.
    pub(super) fn disable(&mut self) {
        self.queues = Queues::default();
        self.features = Features::default();
        self.disk.set_write_cache(true);
        self.events = Events::default();
        self.registers.reset();
        let commands = self.pending.take_all().into_iter().filter_map(|pending| match pending.work {
            Work::Disk { request, .. } => Some(request),
            Work::Answer { .. } => None,
        });
        for request in commands.chain(self.shutting_down.take().map(|stop| stop.request)) {
            self.disk.abandon(request);
        }
    }

    /// With notice, the write cache is emptied first (7.6.2).
    fn shut_down(&mut self, notice: Notice, cx: &mut Context<'_>) -> bool {
        match notice {
            Notice::Normal => {
                self.transitions.shutdowns += 1;
                let ticket = self.disk.accept(Command::Flush, cx);
                self.registers.shutdown = Shutdown::Occurring;
                let stop = ShuttingDown { due: ticket.due, request: ticket.request };
                if let Some(before) = self.shutting_down.replace(stop) {
                    self.disk.abandon(before.request);
                }
                ticket.stop
            }
            Notice::Abrupt => {
                self.transitions.abrupt_shutdowns += 1;
                self.registers.shutdown = Shutdown::Complete;
                false
            }
        }
    }
}
