//! Where in the picture a moment lies: run time to scale, and what takes no run time, or long stretches of nothing, in a fixed width.

use devices::PowerEvent;
use devices::acpi_pm::SleepState;

use crate::history::{Entry, Happening};

/// Run time in which nothing is heard of, from which on it is not drawn to scale: nanoseconds, and a part of the whole run.
const IDLE: u64 = 1_000_000_000;
const IDLE_PART: u64 = 12;
/// Most that is spent on pieces that are not to scale, as a part of the whole.
const FIXED: f64 = 0.35;
/// Width of one of them, if there is room.
const PIECE: f64 = 34.0;

/// A piece of the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Which boot.
    pub boot: u32,
    /// What the machine is meanwhile.
    pub state: State,
    /// Run time at its beginning, in nanoseconds.
    pub from: u64,
    /// Run time at its end.
    pub to: u64,
    /// Where it begins in the picture.
    pub x: f64,
    /// How wide it is there.
    pub width: f64,
}

/// What the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, to scale.
    Runs,
    /// It runs, and nothing happens.
    Idle,
    /// Asleep in S3.
    S3,
    /// Off by order.
    Off(SleepState),
    /// The power failed.
    Cut,
}

/// Where everything lies.
#[derive(Debug, Clone, Default)]
pub struct Axis {
    /// From left to right, without holes.
    pub pieces: Vec<Piece>,
    /// Of each entry of the history.
    at: Vec<f64>,
}

impl Axis {
    /// For a history, on this width.
    pub fn new(entries: &[Entry], width: f64) -> Self {
        // Each boot counts from 0.
        let mut ends: Vec<(u32, u64)> = Vec::new();
        for entry in entries {
            match ends.last_mut().filter(|(boot, _)| *boot == entry.boot) {
                Some((_, end)) => *end = (*end).max(entry.at.time.0),
                None => ends.push((entry.boot, entry.at.time.0)),
            }
        }
        let whole = ends.iter().fold(0, |whole: u64, (_, end)| whole.saturating_add(*end));
        let mut builder = Builder { idle: IDLE.max(whole / IDLE_PART), ..Builder::default() };
        for entry in entries {
            builder.add(entry);
        }
        builder.finish(width)
    }

    /// Where an entry of the history lies.
    pub fn at(&self, entry: usize) -> f64 {
        self.at.get(entry).or(self.at.last()).copied().unwrap_or_default()
    }

    /// Where a boot begins and ends, what follows it until the next one included.
    pub fn boot(&self, boot: u32) -> Option<(f64, f64)> {
        let mut pieces = self.pieces.iter().filter(|piece| piece.boot == boot);
        let first = pieces.next()?;
        let last = pieces.next_back().unwrap_or(first);
        Some((first.x, last.x + last.width))
    }

    /// How far the machine runs on from here, without sleep and long silence.
    pub fn runs_until(&self, boot: u32, x: f64) -> f64 {
        let interrupted = |piece: &&Piece| piece.boot == boot && piece.state != State::Runs && piece.x >= x;
        let end = || self.boot(boot).map_or(x, |(_, end)| end);
        self.pieces.iter().find(interrupted).map_or_else(end, |piece| piece.x)
    }

    /// The boots there are.
    pub fn boots(&self) -> Vec<u32> {
        let mut boots: Vec<u32> = self.pieces.iter().map(|piece| piece.boot).collect();
        boots.dedup();
        boots
    }
}

#[derive(Default)]
struct Builder {
    pieces: Vec<Piece>,
    /// Run time in which nothing happens, from which on it is not to scale.
    idle: u64,
    /// The piece of each entry, and the run time.
    places: Vec<(usize, u64)>,
    time: u64,
    asleep: bool,
    off: Option<State>,
    /// SLP_TYP last written.
    slp_typ: Option<u8>,
}

impl Builder {
    fn add(&mut self, entry: &Entry) {
        let boot = entry.boot;
        if self.pieces.last().is_none_or(|piece| piece.boot != boot) {
            self.leave();
            self.time = 0;
            self.push(boot, State::Runs);
        }
        let now = entry.at.time.0.max(self.time);
        if now - self.time > self.idle {
            self.push(boot, State::Idle);
            self.grow(now);
            self.push(boot, State::Runs);
        } else {
            self.grow(now);
        }
        match &entry.what {
            Happening::SleepRegister { slp_typ } => self.slp_typ = Some(*slp_typ),
            Happening::Power(PowerEvent::Asleep) => self.asleep = true,
            Happening::Power(PowerEvent::Awake) => self.wake(boot),
            Happening::Power(PowerEvent::Cut) => {
                self.wake(boot);
                self.off = Some(State::Cut);
            }
            Happening::Power(PowerEvent::Off) => {
                let state = self.slp_typ.and_then(SleepState::of_slp_typ).unwrap_or(SleepState::S5);
                self.off = Some(State::Off(state));
            }
            _ => {}
        }
        self.places.push((self.pieces.len().saturating_sub(1), self.time));
    }

    fn push(&mut self, boot: u32, state: State) {
        let (from, to) = (self.time, self.time);
        self.pieces.push(Piece { boot, state, from, to, x: 0.0, width: 0.0 });
    }

    fn grow(&mut self, now: u64) {
        self.time = now;
        if let Some(piece) = self.pieces.last_mut() {
            piece.to = now;
        }
    }

    /// Was asleep until now.
    fn wake(&mut self, boot: u32) {
        if std::mem::take(&mut self.asleep) {
            self.push(boot, State::S3);
            self.push(boot, State::Runs);
        }
    }

    /// What the machine is after its last moment in this boot.
    fn leave(&mut self) {
        let Some(boot) = self.pieces.last().map(|piece| piece.boot) else { return };
        if std::mem::take(&mut self.asleep) {
            self.push(boot, State::S3);
        }
        if let Some(state) = self.off.take() {
            self.push(boot, state);
        }
    }

    fn finish(mut self, width: f64) -> Axis {
        self.leave();
        let scaled = |piece: &Piece| piece.state == State::Runs;
        let fixed = self.pieces.iter().filter(|piece| !scaled(piece)).count() as f64;
        let total =
            self.pieces.iter().filter(|piece| scaled(piece)).map(|piece| piece.to - piece.from).sum::<u64>();
        let one = if fixed == 0.0 { 0.0 } else { PIECE.min(width * FIXED / fixed) };
        let scale = (width - one * fixed) / total.max(1) as f64;
        let mut x = 0.0;
        for piece in &mut self.pieces {
            piece.x = x;
            piece.width = if scaled(piece) { (piece.to - piece.from) as f64 * scale } else { one };
            x += piece.width;
        }
        let place = |(number, time): &(usize, u64)| {
            self.pieces.get(*number).map_or(0.0, |piece| {
                let part = (time - piece.from) as f64 / (piece.to - piece.from).max(1) as f64;
                piece.x + piece.width * part.min(1.0)
            })
        };
        let at = self.places.iter().map(place).collect();
        Axis { pieces: self.pieces, at }
    }
}

#[cfg(test)]
mod tests {
    use devices::{Event, Moment, VirtualTime};

    use super::*;
    use crate::History;

    const S: u64 = 1_000_000_000;

    fn history(events: &[(u64, Event)]) -> History {
        let mut history = History::default();
        for (time, event) in events {
            history.see(Moment { time: VirtualTime(*time), ..Moment::default() }, *event);
        }
        history
    }

    fn states(axis: &Axis) -> Vec<(u32, State)> {
        axis.pieces.iter().filter(|piece| piece.width > 0.0).map(|piece| (piece.boot, piece.state)).collect()
    }

    #[test]
    fn sleep_and_loss_of_power_have_a_width_and_run_time_is_to_scale() {
        let power = Event::Power;
        let history = history(&[
            (S / 2, Event::SleepRegister { slp_typ: 1 }),
            (S, power(PowerEvent::Asleep)),
            (S, power(PowerEvent::Awake)),
            (2 * S, power(PowerEvent::Asleep)),
            (2 * S, power(PowerEvent::Cut)),
            (0, power(PowerEvent::On)),
            (S, Event::SleepRegister { slp_typ: 0 }),
        ]);
        let axis = Axis::new(history.entries(), 1000.0);
        use State::{Cut, Runs, S3};
        assert_eq!(states(&axis), [(1, Runs), (1, S3), (1, Runs), (1, S3), (1, Cut), (2, Runs)]);
        let end = axis.pieces.last().map(|piece| piece.x + piece.width).unwrap();
        assert!((end - 1000.0).abs() < 1e-6);
        // A second each, and a sleep between.
        assert!((axis.at(1) - 2.0 * axis.at(0)).abs() < 1e-6);
        assert!(((axis.at(2) - axis.at(1)) - PIECE).abs() < 1e-6);
        assert_eq!(axis.boots(), [1, 2]);
        assert_eq!(axis.boot(2), Some((axis.at(5), 1000.0)));
    }

    #[test]
    fn a_long_silence_is_drawn_short() {
        let byte = |byte| Event::Serial { port: 0, byte };
        let history =
            history(&[(S, byte(b'x')), (S, byte(b'\n')), (31 * S, byte(b'y')), (31 * S, byte(b'\n'))]);
        let axis = Axis::new(history.entries(), 1000.0);
        assert_eq!(states(&axis), [(1, State::Runs), (1, State::Idle)]);
        assert_eq!((axis.at(0).round() as u32, axis.at(1).round() as u32), (966, 1000));
    }

    #[test]
    fn a_silence_that_is_short_for_the_run_is_to_scale() {
        let lines = (1..=40)
            .flat_map(|second| [b'x', b'\n'].map(|byte| (2 * second * S, Event::Serial { port: 0, byte })));
        let axis = Axis::new(history(&lines.collect::<Vec<_>>()).entries(), 1000.0);
        assert_eq!(states(&axis), [(1, State::Runs)]);
    }

    #[test]
    fn nothing_at_all_is_no_picture() {
        let axis = Axis::new(&[], 1000.0);
        assert_eq!((axis.pieces.len(), axis.at(7), axis.boot(1)), (0, 0.0, None));
    }
}
