//! In which order states are tried. None of this changes what is legal.
//!
//! All orders are lazy and always the same, and none of them gives a state twice.

use std::collections::BTreeSet;

use super::{CrashSpace, CrashState};

/// This many states in a row that were seen before end an endless order.
const PATIENCE: u32 = 1_000;

impl CrashSpace {
    /// The first k writes survive, in the order of acceptance, from none to all: a disk that keeps the order.
    pub fn prefixes(&self) -> impl Iterator<Item = CrashState> + '_ {
        let open = self.open_writes();
        let states = std::iter::once(0).chain(open.into_iter().map(|write| write + 1));
        Distinct::new(states.map(|end| self.surviving(|write| write < end)))
    }

    /// All but one survive, the newest lost first.
    pub fn drop_one(&self) -> impl Iterator<Item = CrashState> + '_ {
        let open = self.open_writes().into_iter().rev();
        Distinct::new(open.map(|lost| self.surviving(|write| write != lost)))
    }

    /// One survives, the newest first; with it those that it was merged with, if writes survive as a whole.
    pub fn keep_one(&self) -> impl Iterator<Item = CrashState> + '_ {
        let open = self.open_writes().into_iter().rev();
        Distinct::new(open.map(|kept| match &self.tied {
            Some(tied) => tied.complete(tied.select(|write| write == kept)),
            None => self.surviving(|write| write == kept),
        }))
    }

    /// All but two survive: neighbours first, then those further apart, of each distance the newest first.
    pub fn pairs(&self) -> impl Iterator<Item = CrashState> + '_ {
        let open = self.open_writes();
        let count = open.len();
        let pairs =
            (1..count).flat_map(move |apart| (apart..count).rev().map(move |newer| (newer - apart, newer)));
        let pairs = pairs.filter_map(move |(older, newer)| Some((*open.get(older)?, *open.get(newer)?)));
        Distinct::new(pairs.map(|lost| self.surviving(|write| write != lost.0 && write != lost.1)))
    }

    /// All survive but a part of one, the newest first: its first unit is lost, its last, all but its first. Nothing if writes survive
    /// as a whole.
    pub fn tears(&self) -> impl Iterator<Item = CrashState> + '_ {
        let open = if self.tied.is_some() { Vec::new() } else { self.open_writes() };
        let spans = open.into_iter().rev().filter_map(|write| {
            let mut units =
                self.layout.open.iter().filter(|open| self.touches(open, write)).map(|open| open.number);
            let first = units.next()?;
            Some((write, first, units.next_back()?))
        });
        let lost = spans.flat_map(|(write, first, last)| {
            [(write, first..=first), (write, last..=last), (write, first + 1..=last)]
        });
        Distinct::new(
            lost.map(|(lost, units)| self.torn(|write, unit| write != lost || !units.contains(&unit))),
        )
    }

    /// Random states, endless unless there are few. A quarter each: any state, all equally likely; many or few of the writes; the
    /// older writes, none of the newer, and of those between them some; the same with each unit of these for itself.
    pub fn seeded(&self, seed: u64) -> impl Iterator<Item = CrashState> + '_ {
        let open = self.open_writes();
        let states = (0u64..).map(move |number| self.random(&open, Random::new(seed, number)));
        Distinct { patience: PATIENCE, ..Distinct::new(states) }
    }

    /// All states, from number 0.
    pub fn exhaustive(&self) -> Exhaustive<'_> {
        self.exhaustive_from(0)
    }

    /// The states from this number on, which came from [`Exhaustive::position`].
    pub fn exhaustive_from(&self, position: u128) -> Exhaustive<'_> {
        let radices = match &self.tied {
            None => self.layout.open.iter().map(|open| open.pattern.contents() as u128).collect(),
            Some(tied) => tied.radices(),
        };
        let mut rest = position;
        let digit = |radix: &u128| {
            let digit = rest.checked_rem(*radix).unwrap_or(0);
            rest = rest.checked_div(*radix).unwrap_or(0);
            digit
        };
        let digits = radices.iter().map(digit).collect();
        Exhaustive { space: self, radices, digits, position, finished: rest > 0 }
    }

    /// What to try first: all, none, then in turn one of each other order, until all states were given. The seed is that of
    /// [`CrashSpace::seeded`].
    pub fn search(&self, seed: u64) -> Search<'_> {
        let orders: Vec<Box<dyn Iterator<Item = CrashState> + '_>> = vec![
            Box::new(self.drop_one()),
            Box::new(self.prefixes()),
            Box::new(self.keep_one()),
            Box::new(self.tears()),
            Box::new(self.seeded(seed)),
            Box::new(self.pairs()),
        ];
        let start = [self.all(), self.none()].into_iter();
        let states = start.chain(Turns { orders, turn: 0 }).chain(self.exhaustive());
        Search(Distinct::new(Box::new(states)))
    }

    /// Places of the writes that touch an open unit.
    fn open_writes(&self) -> Vec<usize> {
        let mut open = vec![false; self.writes.len()];
        for unit in &self.layout.open {
            for layer in self.layout.layers(unit) {
                if let Some(open) = open.get_mut(layer.write) {
                    *open = true;
                }
            }
        }
        open.iter().enumerate().filter_map(|(write, open)| open.then_some(write)).collect()
    }

    fn touches(&self, open: &super::layout::Open, write: usize) -> bool {
        self.layout.layers(open).iter().any(|layer| layer.write == write)
    }

    fn random(&self, open: &[usize], mut random: Random) -> CrashState {
        let kind = random.below(4);
        if kind == 0 && self.tied.is_none() {
            let choices =
                self.layout.open.iter().map(|open| random.below(open.pattern.contents() as u64) as u32);
            return CrashState::of(false, choices);
        }
        // In sixteenths.
        let likely = match kind {
            0 => 8,
            _ => [1, 4, 8, 12, 15][random.below(5) as usize],
        };
        let place = |random: &mut Random| {
            let place = random.below(open.len() as u64 + 1) as usize;
            open.get(place).copied().unwrap_or(self.writes.len())
        };
        let bounds = [place(&mut random), place(&mut random)];
        let (first, end) = match kind {
            2 | 3 => (bounds[0].min(bounds[1]), bounds[0].max(bounds[1])),
            _ => (0, self.writes.len()),
        };
        let mut kept = |write: usize| write < first || write < end && random.below(16) < likely;
        if kind == 3 && self.tied.is_none() {
            self.torn(|write, _| kept(write))
        } else {
            self.surviving(kept)
        }
    }
}

/// All states. See [`CrashSpace::exhaustive`].
#[derive(Debug, Clone)]
pub struct Exhaustive<'a> {
    space: &'a CrashSpace,
    radices: Vec<u128>,
    digits: Vec<u128>,
    position: u128,
    finished: bool,
}

impl Exhaustive<'_> {
    /// Number of the next state; from here [`CrashSpace::exhaustive_from`] goes on. Not each number is of a state.
    pub fn position(&self) -> u128 {
        self.position
    }

    /// Whether all states were given: the space is exhausted.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn advance(&mut self) {
        self.position = self.position.saturating_add(1);
        for (digit, radix) in self.digits.iter_mut().zip(&self.radices) {
            *digit += 1;
            if *digit < *radix {
                return;
            }
            *digit = 0;
        }
        self.finished = true;
    }
}

impl Iterator for Exhaustive<'_> {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        while !self.finished {
            let state = match &self.space.tied {
                None => Some(CrashState::of(false, self.digits.iter().map(|digit| *digit as u32))),
                Some(tied) => tied.outcome(&self.digits),
            };
            self.advance();
            if state.is_some() {
                return state;
            }
        }
        None
    }
}

/// What to try first. See [`CrashSpace::search`].
pub struct Search<'a>(Distinct<Box<dyn Iterator<Item = CrashState> + 'a>>);

impl Iterator for Search<'_> {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        self.0.next()
    }
}

/// One of each in turn.
struct Turns<'a> {
    orders: Vec<Box<dyn Iterator<Item = CrashState> + 'a>>,
    turn: usize,
}

impl Iterator for Turns<'_> {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        while !self.orders.is_empty() {
            self.turn %= self.orders.len();
            match self.orders.get_mut(self.turn).and_then(Iterator::next) {
                Some(state) => {
                    self.turn += 1;
                    return Some(state);
                }
                None => drop(self.orders.remove(self.turn)),
            }
        }
        None
    }
}

/// Each state once.
struct Distinct<I> {
    states: I,
    seen: BTreeSet<[u8; 16]>,
    patience: u32,
}

impl<I> Distinct<I> {
    fn new(states: I) -> Self {
        Self { states, seen: BTreeSet::new(), patience: u32::MAX }
    }
}

impl<I: Iterator<Item = CrashState>> Iterator for Distinct<I> {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        for _ in 0..self.patience {
            let state = self.states.next()?;
            if self.seen.insert(state.digest()) {
                return Some(state);
            }
        }
        None
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). States of a seed must not change with a library.
struct Random(u64);

impl Random {
    /// One generator for each number of a seed, so that states do not depend on those before them.
    fn new(seed: u64, number: u64) -> Self {
        let mut seed = Self(seed);
        Self(seed.next() ^ number.wrapping_mul(0xd129_0d3a_c0de_5eed | 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Less than this, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}
