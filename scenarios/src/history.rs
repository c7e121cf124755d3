//! What happened in a run, in order: the recorded stream of events, which checks and reports read when it is over.

use agent_protocol::message::{ReadyWhy, Role, Session};
use devices::{DiskEvent, Event, Moment, PowerEvent};
use serde::{Deserialize, Serialize};

/// Everything that happened, oldest first. Bytes of serial ports are put together into lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    entries: Vec<Entry>,
    boot: u32,
    line: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When: times and instructions begin again with each boot.
    pub at: Moment,
    /// How often the power came on or the reset line was pulled before, from 1 on.
    pub boot: u32,
    /// What.
    pub what: Happening,
}

/// What may happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// A request to a disk went a step further.
    Disk(DiskEvent),
    /// A driver started the front end of a disk, or reset it.
    FrontEnd {
        /// Which disk.
        disk: u8,
        /// Started, not reset.
        started: bool,
    },
    /// PM1_CNT was written with SLP_EN.
    SleepRegister {
        /// SLP_TYP.
        slp_typ: u8,
    },
    /// The machine as a whole changed its state.
    Power(PowerEvent),
    /// A line of the console, without its end.
    Console(String),
    /// From here on this kernel has the machine. Where it takes over by itself (a jump), said when the one before says that it goes.
    Kernel(Role),
    /// The agent is there.
    Ready {
        /// Who.
        session: Session,
        /// Why.
        why: ReadyWhy,
    },
    /// The agent goes, as it was asked to.
    Going {
        /// Who.
        session: Session,
    },
    /// A step of the scenario begins.
    StepBegins {
        /// Cycle, from 1; 0 before the first.
        cycle: u32,
        /// Its name.
        step: String,
    },
    /// It came to its end, or did not.
    StepEnds {
        /// Its name.
        step: String,
        /// Whether it went as it should.
        well: bool,
    },
    /// Who is behind the request that was accepted just before: who asked for a flush, who submitted a write. Only where that is watched.
    Authors {
        /// Of which disk.
        disk: u8,
        /// Which.
        request: u64,
        /// One line each.
        authors: Vec<String>,
    },
}

impl History {
    /// Everything so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How often the power came on or the reset line was pulled, the first time included.
    pub fn boot(&self) -> u32 {
        self.boot.max(1)
    }

    /// Writes down what happened.
    pub fn note(&mut self, at: Moment, what: Happening) {
        self.entries.push(Entry { at, boot: self.boot(), what });
    }

    /// Writes down an event of the machine.
    pub fn see(&mut self, at: Moment, event: Event) {
        let what = match event {
            Event::Serial { port: 0, byte } => return self.hear(at, byte),
            // Who watches code writes down himself what it means.
            Event::Serial { .. } | Event::Debug { .. } | Event::Executed { .. } => return,
            Event::SleepRegister { slp_typ } => Happening::SleepRegister { slp_typ },
            Event::Disk(event) => Happening::Disk(event),
            Event::FrontEnd { disk, started } => Happening::FrontEnd { disk, started },
            Event::Power(event) => {
                self.end_line(at);
                if matches!(event, PowerEvent::On | PowerEvent::Reset) {
                    self.boot = self.boot() + 1;
                }
                Happening::Power(event)
            }
        };
        self.note(at, what);
    }

    fn hear(&mut self, at: Moment, byte: u8) {
        match byte {
            b'\n' => self.end_line(at),
            b'\r' => {}
            // Consoles speak ASCII; what is none shows as what it is.
            0x20..=0x7e | b'\t' => self.line.push(char::from(byte)),
            other => self.line.push_str(&format!("\\x{other:02x}")),
        }
    }

    /// What a kernel had begun to say when it lost the machine is a line.
    fn end_line(&mut self, at: Moment) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.note(at, Happening::Console(line));
        }
    }

    /// Steps of requests to disks, in order.
    pub fn disk_events(&self) -> impl Iterator<Item = (&Entry, &DiskEvent)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            Happening::Disk(event) => Some((entry, event)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> History {
        let mut history = History::default();
        for byte in text.bytes() {
            history.see(Moment::default(), Event::Serial { port: 0, byte });
        }
        history
    }

    #[test]
    fn bytes_become_lines_and_a_power_cut_ends_one() {
        let mut history = said("one\r\ntw\x07o\nthr");
        history.see(Moment::default(), Event::Power(PowerEvent::Cut));
        history.see(Moment::default(), Event::Power(PowerEvent::On));
        let lines: Vec<_> = history.entries().iter().map(|entry| (entry.boot, entry.what.clone())).collect();
        let console = |text: &str| Happening::Console(text.into());
        assert_eq!(
            lines,
            [
                (1, console("one")),
                (1, console("tw\\x07o")),
                (1, console("thr")),
                (1, Happening::Power(PowerEvent::Cut)),
                (2, Happening::Power(PowerEvent::On)),
            ]
        );
    }
}
