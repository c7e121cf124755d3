//! Looks at the workloads of a session that went on.

use agent_protocol::message::WorkloadReport;
use devices::VirtualTime;

/// Nanoseconds between two looks, and how many there are before workloads are said to stand still.
const LOOK: u64 = 100_000_000;
const LOOKS: u32 = 20;

/// How often one was taken, and what there was at the first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Looks {
    first: Option<Vec<WorkloadReport>>,
    count: u32,
    next: Option<VirtualTime>,
}

/// What a look shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Where they are: there is nothing yet to compare with.
    First(Vec<WorkloadReport>),
    /// Every one of them moved on.
    Alive,
    /// Not all have, so far.
    Again(Looks),
    /// Not all have, and there was time enough.
    Still,
}

impl Looks {
    /// The next are compared with this one.
    pub fn after(first: Vec<WorkloadReport>) -> Self {
        Self { first: Some(first), ..Self::default() }
    }

    /// When the next is due, if none is under way.
    pub fn next(&self) -> Option<VirtualTime> {
        self.next
    }

    /// Whether the next is due now; then it is under way.
    pub fn is_due(&mut self, now: VirtualTime) -> bool {
        self.next.take_if(|next| now >= *next).is_some()
    }

    /// Takes in what a look brought, in which there is no difference.
    pub fn see(&self, reports: Vec<WorkloadReport>, now: VirtualTime) -> Seen {
        let Some(first) = &self.first else { return Seen::First(reports) };
        if first.iter().zip(&reports).all(|(before, now)| before.progress < now.progress) {
            return Seen::Alive;
        }
        match self.count {
            LOOKS.. => Seen::Still,
            count => Seen::Again(Self { count: count + 1, next: Some(now.after(LOOK)), ..self.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_protocol::message::Workload;

    use super::*;

    fn at(progress: [u64; 2]) -> Vec<WorkloadReport> {
        let report = |(workload, progress)| WorkloadReport { workload, progress, differences: Vec::new() };
        [Workload::Memory, Workload::Ext4].into_iter().zip(progress).map(report).collect()
    }

    #[test]
    fn who_moves_is_alive_and_who_does_not_is_looked_at_again() {
        let now = VirtualTime(5);
        assert_eq!(Looks::default().see(at([1, 1]), now), Seen::First(at([1, 1])));
        let looks = Looks::after(at([1, 1]));
        assert_eq!(looks.see(at([2, 2]), now), Seen::Alive);
        let Seen::Again(mut looks) = looks.see(at([2, 1]), now) else { panic!("one stands still") };
        assert!(!looks.is_due(now));
        assert!(looks.is_due(now.after(LOOK)) && !looks.is_due(now.after(LOOK)));
        let mut seen = Seen::Again(looks);
        for _ in 0..=LOOKS {
            let Seen::Again(looks) = seen else { break };
            seen = looks.see(at([2, 1]), now);
        }
        assert_eq!(seen, Seen::Still);
    }
}
