//! Who ran when, how long it took to come up, and what it said.

use agent_protocol::message::{ReadyWhy, Role};

use crate::history::{Entry, Happening};

/// Lines of the console that are shown of one kernel without an interruption: the first, and the last.
const FIRST: usize = 300;
const LAST: usize = 900;

/// As a class of the style sheet.
pub fn role_class(role: Role) -> &'static str {
    match role {
        Role::Primary => "a",
        Role::Saver => "b",
        Role::Restorer => "c",
    }
}

/// In words.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Saver => "saver",
        Role::Restorer => "restorer",
    }
}

/// Who has the machine at each entry of a history.
pub fn who(entries: &[Entry]) -> Vec<Option<Role>> {
    let (mut boot, mut role) = (0, None);
    let each = entries.iter().map(|entry| {
        if entry.boot != boot {
            (boot, role) = (entry.boot, None);
        }
        match &entry.what {
            Happening::Kernel(now) => role = Some(*now),
            Happening::Ready { session, .. } => role = Some(session.role),
            _ => {}
        }
        role
    });
    each.collect()
}

/// How long a kernel took from its entry until its agent was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Who.
    pub role: Role,
    /// In which boot.
    pub boot: u32,
    /// Run time, in nanoseconds.
    pub nanoseconds: u64,
    /// Retired by all processors.
    pub instructions: u64,
}

/// Every start of a kernel.
pub fn starts(entries: &[Entry]) -> Vec<Start> {
    let mut starts = Vec::new();
    let mut entered: Option<(Role, &Entry)> = None;
    for entry in entries {
        match (&entry.what, entered) {
            (Happening::Kernel(role), _) => entered = Some((*role, entry)),
            (Happening::Ready { session, why: ReadyWhy::Boot }, Some((role, begin)))
                if session.role == role && begin.boot == entry.boot =>
            {
                starts.push(Start {
                    role,
                    boot: entry.boot,
                    nanoseconds: entry.at.time.since(begin.at.time),
                    instructions: entry.at.instructions.saturating_sub(begin.at.instructions),
                });
                entered = None;
            }
            (Happening::Ready { .. }, _) => entered = None,
            _ => {}
        }
    }
    starts
}

/// What a kernel said in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech<'a> {
    /// Who. None: nobody that we know.
    pub role: Option<Role>,
    /// In which boot.
    pub boot: u32,
    /// Lines.
    pub lines: Vec<&'a str>,
    /// Lines left out of the middle, and after how many.
    pub left_out: Option<(usize, usize)>,
}

/// The console, split by who speaks.
pub fn console(entries: &[Entry]) -> Vec<Speech<'_>> {
    let mut speeches: Vec<Speech<'_>> = Vec::new();
    for (entry, role) in entries.iter().zip(who(entries)) {
        let Happening::Console(line) = &entry.what else { continue };
        match speeches.last_mut().filter(|speech| (speech.boot, speech.role) == (entry.boot, role)) {
            Some(speech) => speech.lines.push(line),
            None => speeches.push(Speech { role, boot: entry.boot, lines: vec![line], left_out: None }),
        }
    }
    for speech in &mut speeches {
        let count = speech.lines.len();
        if count > FIRST + LAST {
            speech.lines.drain(FIRST..count - LAST);
            speech.left_out = Some((count - FIRST - LAST, FIRST));
        }
    }
    speeches
}
