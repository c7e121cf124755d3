//! Which kernel has which disk, and when.

use std::collections::BTreeMap;

use agent_protocol::message::Role;
use devices::PowerEvent;

use super::Record;
use crate::history::Happening;

/// One kernel has a disk: from where it started its front end to where that was reset, by whomever, or lost its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenure {
    pub(super) disk: usize,
    pub(super) role: Role,
    pub(super) boot: u32,
    /// Places in the history.
    pub(super) starts: usize,
    pub(super) ends: usize,
}

/// All of them, in the order in which they begin. Whose a tenure is, is known from who was booted or jumped to last, and better from who
/// speaks in it: a jump that failed leaves its disks to the kernel that wanted to go.
pub(super) fn tenures(record: &Record<'_>) -> Vec<Tenure> {
    let mut tenures: Vec<Tenure> = Vec::new();
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    let mut role = Role::Primary;
    let mut gone = 0;
    let entries = record.entries();
    for (at, entry) in entries.iter().enumerate() {
        match &entry.what {
            Happening::Kernel(next) => role = *next,
            Happening::Going { .. } => gone = at,
            Happening::Ready { session, .. } if session.role != role => {
                role = session.role;
                for number in open.values() {
                    if let Some(tenure) = tenures.get_mut(*number)
                        && gone < tenure.starts
                    {
                        tenure.role = role;
                    }
                }
            }
            Happening::FrontEnd { disk, started } => {
                let disk = usize::from(*disk);
                close(&mut tenures, open.remove(&disk), at);
                if *started {
                    open.insert(disk, tenures.len());
                    let (boot, starts, ends) = (entry.boot, at, entries.len());
                    tenures.push(Tenure { disk, role, boot, starts, ends });
                }
            }
            Happening::Power(event) if *event != PowerEvent::Awake => {
                for number in std::mem::take(&mut open).into_values() {
                    close(&mut tenures, Some(number), at);
                }
            }
            _ => {}
        }
    }
    tenures
}

fn close(tenures: &mut [Tenure], number: Option<usize>, at: usize) {
    if let Some(tenure) = number.and_then(|number| tenures.get_mut(number)) {
        tenure.ends = at;
    }
}

#[cfg(test)]
mod tests {
    use agent_protocol::message::ReadyWhy;

    use super::super::testing::Tale;
    use super::*;

    #[test]
    fn a_disk_passes_from_a_to_b_and_from_c_to_a() {
        let mut tale = Tale::booted();
        tale.jump_and_save();
        tale.cut();
        tale.restore(1001);
        let roles: Vec<(Role, u32)> = tale.run(|record| {
            let of_first = tenures(record).into_iter().filter(|tenure| tenure.disk == 0);
            of_first.map(|tenure| (tenure.role, tenure.boot)).collect()
        });
        assert_eq!(roles, [(Role::Primary, 1), (Role::Saver, 1), (Role::Restorer, 2), (Role::Primary, 2)]);
    }

    #[test]
    fn a_jump_that_fails_leaves_the_disks_to_a() {
        let mut tale = Tale::booted();
        tale.going(Role::Primary, 1000);
        tale.kernel(Role::Saver);
        tale.stand_still();
        tale.ready(Role::Primary, 1001, ReadyWhy::Return);
        let roles: Vec<Role> = tale.run(|record| tenures(record).iter().map(|tenure| tenure.role).collect());
        assert_eq!(roles, [Role::Primary; 4]);
    }
}
