//! What a person reads of a finding.

use std::fmt::Write as _;

use agent_protocol::message::Role;
use devices::disk::CacheMode;
use sha2::{Digest, Sha256};
use vmm::FrontEnd;

use super::found::{Facts, Files, Found, action, milliseconds};
use crate::checks::record::Request;
use crate::explore::recovery::Outcome;

/// Lines of lost writes that are shown; the JSON file has all.
const LOST: usize = 6;

impl Found {
    /// As a terminal shows it.
    pub fn text(&self, number: usize) -> String {
        let mut text = format!("{number}  {}   {}\n", self.clause, self.class);
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(text, "   {name:9} {value}");
        };
        if self.lost_writes.is_empty() {
            row("lost", "nothing that the disk had accepted");
        } else {
            let count = self.lost_writes.len();
            row("lost", &format!("{count} write{}", if count == 1 { "" } else { "s" }));
        }
        for write in self.lost_writes.iter().take(LOST) {
            row("", &write.text());
        }
        if self.lost_writes.len() > LOST {
            row("", &format!("and {} more", self.lost_writes.len() - LOST));
        }
        row("cut", &self.cut.words);
        row(
            "",
            &format!(
                "right after {}, {} into boot {}, in {}",
                self.cut.event,
                milliseconds(self.cut.nanoseconds),
                self.cut.boot,
                self.cut.step
            ),
        );
        row("window", &milliseconds(self.window));
        row("observed", &self.observed.to_string());
        row("legal", &self.allowed.join(" or "));
        row("effect", &self.user_effect);
        row("needs", &self.weakest_fault);
        row("seen", &format!("in {} states{}", self.seen, self.minimal.text()));
        if let Some(files) = &self.repro {
            if !files.replay.is_empty() {
                row("replay", &format!("kjvm replay {}", files.replay));
            }
            if !files.report.is_empty() {
                row("report", &files.report);
            }
        }
        for said in &self.said {
            row("but", said);
        }
        text
    }
}

impl super::LostWrite {
    fn text(&self) -> String {
        let function =
            if self.function.is_empty() { String::new() } else { format!("  ({})", self.function) };
        format!(
            "#{} sectors {}+{} of {}: {}{function}",
            self.request, self.sector, self.sectors, self.disk, self.owner
        )
    }
}

impl super::Minimal {
    fn text(&self) -> String {
        if self.is_proven {
            format!("; minimal, by {} boots", self.boots)
        } else {
            format!("; perhaps not minimal: {} boots did not suffice", self.boots)
        }
    }
}

/// What is known beside the finding itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Background {
    pub(super) kernel: Vec<String>,
    pub(super) machine: Vec<String>,
    pub(super) controls: Vec<String>,
    pub(super) reproduction: Vec<String>,
}

impl Background {
    /// All but the controls.
    pub(super) fn of(facts: &Facts<'_>, files: &Files) -> Self {
        let context = facts.context;
        let primary = &context.kernels.primary;
        let sum =
            |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let used = primary.used_as(Role::Primary);
        let configuration = match primary.configuration() {
            Some(text) => format!("sha256 {}", sum(text.as_bytes())),
            None => "not known".into(),
        };
        let release = if used.release.is_empty() {
            used.name.clone()
        } else {
            format!("{} ({})", used.release, used.name)
        };
        let config = &context.scenario.machine.config;
        let processors = config.processors;
        let mut machine = vec![format!(
            "x86-64, {processors} processor{}, emulated",
            if processors == 1 { "" } else { "s" }
        )];
        for (number, disk) in context.scenario.disks.iter().enumerate() {
            let front_end = if disk.front_end == FrontEnd::Nvme { "NVMe" } else { "virtio-blk" };
            let cache = match disk.config.cache {
                CacheMode::WriteBack => "volatile write",
                CacheMode::WriteThrough => "no write",
            };
            let parts: Vec<&str> = disk.partitions.iter().map(|partition| partition.what.name()).collect();
            let (name, mib, parts) = (facts.disk(number), disk.size >> 20, parts.join(", "));
            machine.push(format!("disk {name}: {front_end}, {mib} MiB, {cache} cache; partitions: {parts}"));
        }
        let mut reproduction = Vec::new();
        for log in &files.logs {
            reproduction.push(format!("{log}: the disk after the failure, in the format of dm-log-writes, onto zeros (replay-log replays it)."));
        }
        reproduction
            .push("Read back, the logs give the very contents that failed, by hashes of all blocks.".into());
        reproduction.push(format!(
            "sh {} BZIMAGE INITRD: builds the disks from the logs and boots them under QEMU.",
            files.script
        ));
        if !files.replay.is_empty() {
            reproduction.push(format!("With kjvm: kjvm replay {}", files.replay));
        }
        Self {
            kernel: vec![
                format!("{release}, bzImage sha256 {}", sum(&primary.bzimage)),
                format!("configuration {configuration}"),
            ],
            machine,
            controls: Vec::new(),
            reproduction,
        }
    }
}

/// The report for a maintainer: at most 80 lines.
pub(super) fn report(log: &[String], found: &Found, background: &Background) -> String {
    let mut text = format!("Power failure during `{}`: {} ({})\n", found.cut.step, found.class, found.clause);
    section(&mut text, "Kernel", &background.kernel);
    section(&mut text, "Machine", &background.machine);
    section(&mut text, "Storage contract", &[
        "A write survives a power failure for certain if it was completed with FUA, or completed before a FLUSH that was itself".into(),
        "completed. Any other write that the disk accepted may survive or not, whatever was accepted before or after it.".into(),
        format!("This finding needs: {}.", match found.weakest_fault.as_str() {
            "cut only" => "a power cut only; nothing is lost that had been completed",
            "volatile cache" => "a volatile write cache, which every disk without power-loss protection has",
            _ => "a disk that breaks this contract",
        }),
    ]);
    section(
        &mut text,
        "What the disk saw (time since power came on; in brackets the guest's functions)",
        log,
    );
    let lost: Vec<String> = match found.lost_writes.len() {
        0 => vec![
            "Nothing: every write that the disk had accepted is there. The power failed before the next one."
                .into(),
        ],
        _ => {
            let mut lost: Vec<String> =
                found.lost_writes.iter().take(LOST).map(super::LostWrite::text).collect();
            let more = found.lost_writes.len() - lost.len();
            lost.extend((more > 0).then(|| format!("and {more} more")));
            lost
        }
    };
    section(&mut text, "What is lost", &lost);
    section(
        &mut text,
        "Where the power fails",
        &[
            format!("{}.", found.cut.words),
            format!(
                "Right after: {}. The window is {} of the guest's time.",
                found.cut.event,
                milliseconds(found.window)
            ),
        ],
    );
    section(
        &mut text,
        "What the user sees",
        &[
            format!("{}.", found.user_effect),
            format!(
                "Observed: {}. Legal would be: {}.",
                sentence(&found.observed),
                found.allowed.join(" or ")
            ),
        ],
    );
    section(&mut text, "Controls", &background.controls);
    section(&mut text, "Reproduction without kjvm", &background.reproduction);
    let mainline = "Whether mainline has a fix was not checked.".to_owned();
    section(&mut text, "Mainline", &[mainline]);
    if !found.said.is_empty() {
        section(&mut text, "Not confirmed", &found.said);
    }
    text
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    let _ = writeln!(text, "\n{title}");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

/// What happened, in six lines and the cut: requests of one kind that follow each other are one line.
pub(super) fn log(facts: &Facts<'_>) -> Vec<String> {
    const BEFORE: usize = 4;
    const AFTER: usize = 2;
    let disk = facts.commit().map(|(request, _)| request.disk);
    let disk = disk.or_else(|| facts.loss.requests().next().map(|(disk, _)| disk)).unwrap_or(0);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for request in facts.changes().filter(|request| request.disk == disk) {
        let line = Group::of(facts, request);
        match groups.last_mut() {
            Some(last) if last.goes_on_with(&line) => last.last = request,
            _ => groups.push(line),
        }
        if let Some(last) = groups.last_mut() {
            last.count += 1;
        }
    }
    let cut = groups.iter().position(|group| !group.is_before).unwrap_or(groups.len());
    let (before, after) = groups.split_at(cut);
    let mut lines = Vec::new();
    // The last flush in any case, and what comes last.
    let flush = before.iter().rposition(|group| group.action == "FLUSH");
    let tail = before.len().saturating_sub(if flush.is_some() { BEFORE - 1 } else { BEFORE });
    match flush.filter(|flush| *flush < tail) {
        Some(flush) => lines.extend(before.get(flush).map(|group| group.text(facts))),
        None if flush.is_none() => lines.push("no FLUSH since power came on".into()),
        None => {}
    }
    lines.extend(before.iter().skip(tail).map(|group| group.text(facts)));
    lines.push(format!("{:>12}  ======== the power fails here ========", seconds(facts.time(facts.entry))));
    lines.extend(after.iter().take(AFTER).map(|group| group.text(facts)));
    if after.is_empty() {
        lines.push("nothing more is written in this boot".into());
    }
    lines
}

/// Requests of one kind that follow each other.
struct Group<'a> {
    first: &'a Request<'a>,
    last: &'a Request<'a>,
    count: u64,
    action: &'static str,
    owner: String,
    function: String,
    is_lost: bool,
    is_before: bool,
}

impl<'a> Group<'a> {
    fn of(facts: &Facts<'_>, request: &'a Request<'a>) -> Self {
        let owner = match facts.owners.commit(request) {
            Some(commit) => commit,
            None => request.extent().map_or(String::new(), |extent| facts.owners.of(request.disk, extent)),
        };
        let is_before = request.accepted <= facts.entry;
        Self {
            first: request,
            last: request,
            count: 0,
            action: action(&request.action),
            owner,
            function: facts.function(request),
            is_lost: is_before && facts.loss.has(request.disk, request.number),
            is_before,
        }
    }

    fn goes_on_with(&self, next: &Self) -> bool {
        let of = |group: &Self| (group.action, group.owner.clone(), group.is_lost, group.is_before);
        of(self) == of(next) && (self.function == next.function || self.action != "FLUSH")
    }

    fn text(&self, facts: &Facts<'_>) -> String {
        let numbers = match self.count {
            1 => format!("#{}", self.first.number),
            _ => format!("#{}-{}", self.first.number, self.last.number),
        };
        let owner = if self.owner.is_empty() { String::new() } else { format!(", {}", self.owner) };
        let what = match self.count {
            1 => format!("{}{owner}", self.action),
            count => format!("{count} times {}{owner}", self.action),
        };
        let fate = if self.is_lost {
            " LOST"
        } else if !self.is_before {
            " (never sent)"
        } else {
            ""
        };
        let function =
            if self.function.is_empty() { String::new() } else { format!("  [{}]", self.function) };
        format!("{:>12}  {numbers} {what}{fate}{function}", seconds(facts.time(self.first.accepted)))
    }
}

fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:06} s", nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000)
}

/// What an outcome is called among controls.
pub(super) fn control(what: &str, outcome: &Outcome) -> String {
    format!("{what}: {}.", sentence(outcome))
}

/// Without the full stop that kernels may end with.
fn sentence(outcome: &Outcome) -> String {
    outcome.to_string().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{CutTold, LostWrite, Minimal};
    use super::*;
    use crate::explore::cuts::Kind;

    fn found() -> Found {
        Found {
            class: "a header before its map".into(),
            oracle: "O5".into(),
            clause: "O5.C1".into(),
            cut: CutTold {
                entry: 4000,
                boot: 1,
                nanoseconds: 2_370_936_000,
                instructions: 1_000_000,
                step: "hibernate".into(),
                kind: Kind::Disk,
                event: "write #295 accepted".into(),
                words: "0.210 ms after #294 header S1SUSPEND; no FLUSH since #12".into(),
            },
            lost_writes: vec![LostWrite {
                disk: "system".into(),
                request: 295,
                sector: 4096,
                sectors: 8,
                owner: "swap map page 23 of 23".into(),
                function: "swap_writer_finish < swsusp_write < write".into(),
            }],
            weakest_fault: "volatile cache".into(),
            user_effect: "the session is lost: the next boot is cold, though the image was said to be there"
                .into(),
            allowed: vec!["resume".into(), "cold boot".into()],
            observed: Outcome::Lost("PM: hibernation: Failed to load image, recovering.".into()),
            seen: 212,
            window: 25_286_000,
            minimal: Minimal { boots: 5, is_proven: true },
            repro: Some(Files {
                scenario: "finding-1.toml".into(),
                replay: "finding-1.repro".into(),
                report: "finding-1.txt".into(),
                script: "finding-1.sh".into(),
                logs: vec!["finding-1-system.log".into()],
            }),
            said: Vec::new(),
        }
    }

    #[test]
    fn a_terminal_shows_what_matters() {
        insta::assert_snapshot!(found().text(1));
        let mut many = found();
        many.lost_writes =
            (0..9).map(|request| LostWrite { request, ..found().lost_writes[0].clone() }).collect();
        many.minimal = Minimal { boots: 64, is_proven: false };
        (many.repro, many.said) = (None, vec!["no scenario can be made of it".into()]);
        insta::assert_snapshot!(many.text(2));
        many.lost_writes.clear();
        assert!(many.text(3).contains("lost      nothing that the disk had accepted"));
    }

    #[test]
    fn a_maintainer_reads_all_of_it_on_two_pages() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let background = Background {
            kernel: lines("6.12.117 (primary-6.12), bzImage sha256 00ff\nconfiguration sha256 11ee"),
            machine: lines("x86-64, 1 processor, emulated"),
            controls: lines("The same cut with nothing lost: the session goes on."),
            reproduction: lines("sh finding-1.sh BZIMAGE INITRD"),
        };
        let log = lines("0.803366 s  #12 FLUSH\n2.370726 s  #294 write, header S1SUSPEND  [mark_swapfiles]");
        let text = report(&log, &found(), &background);
        assert!(text.lines().count() <= 80);
        insta::assert_snapshot!(text);
        let unsure = Found { said: lines("the reproduction does not come to its cut"), ..found() };
        assert!(
            report(&log, &unsure, &background)
                .ends_with("Not confirmed\n  the reproduction does not come to its cut\n")
        );
    }
}
