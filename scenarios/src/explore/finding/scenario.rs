//! A scenario that cuts the power exactly where a witness has it: the explored one, a `[[power]]` event, and `recover`.
//!
//! The cut is tied to the last thing that changed a disk, or to PM1_CNT: nothing that happens between it and the place of the cut makes
//! any difference to the disks. Cycles are unrolled, so that whatever came before the cut comes again, and nothing after it.

use std::collections::BTreeSet;

use devices::{DiskAction, DiskEvent, DiskStep, PowerEvent};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use super::found::Facts;
use super::loss::Then;
use crate::explore::cuts::Cut;
use crate::history::{Entry, Happening};
use crate::language::{Step, StepSpec, Use};

/// Where the power is cut, so that the language can say it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Anchor {
    /// Entry of the history.
    entry: usize,
    /// The step of the scenario that it lies in, by its place there, and the cycle, from 1.
    step: usize,
    cycle: u32,
}

/// The text of the scenario, or why there can be none.
///
/// # Errors
/// What stands in the way, in words.
pub(super) fn text(facts: &Facts<'_>, then: &Then, about: &str) -> Result<String, String> {
    let context = facts.context;
    let cut = Cut { entry: facts.entry, ..context.cuts.first().cloned().ok_or("there are no cuts")? };
    let anchor = anchor(facts, cut.entry)?;
    let mut document: DocumentMut = context.text.parse().map_err(|error| format!("{error}"))?;
    document.insert("about", Value::from(about).into());
    document.insert("cycles", Value::from(1).into());
    document.insert("steps", Item::Value(Value::Array(steps(facts, &anchor)?)));
    let mut power = Table::new();
    power.insert("when", Item::Value(when(facts, &anchor)?));
    power.insert("do", Value::from("cut").into());
    power.insert("survives", Item::Value(survives(facts, then)));
    let mut events = match document.remove("power") {
        Some(Item::ArrayOfTables(events)) => events,
        Some(_) => return Err("its power events are not written as [[power]]".into()),
        None => ArrayOfTables::new(),
    };
    // Its own cuts were not recorded.
    events.retain(|event| event.get("do").and_then(Item::as_str) != Some("cut"));
    events.push(power);
    document.insert("power", Item::ArrayOfTables(events));
    Ok(document.to_string())
}

/// The last event at or before a place, in the same boot, that a trigger can name and that changed something.
fn anchor(facts: &Facts<'_>, place: usize) -> Result<Anchor, String> {
    let entries = facts.context.record.entries();
    let counts = |entry: &Entry| match &entry.what {
        Happening::Disk(event) => !matches!(event.action, DiskAction::Read(_)),
        Happening::SleepRegister { .. } | Happening::Power(PowerEvent::Off | PowerEvent::Asleep) => true,
        _ => false,
    };
    let before = entries.get(..=place).unwrap_or_default();
    let found = before.iter().enumerate().rev().take_while(|(_, entry)| entry.boot == facts.boot);
    let (entry, _) = found
        .into_iter()
        .find(|(_, entry)| counts(entry))
        .ok_or("nothing happened in that boot that a trigger can name")?;
    let mut anchor = Anchor { entry, step: 0, cycle: 0 };
    let steps = &facts.context.scenario.steps;
    let mut next = 0;
    for begun in before.iter().take(entry) {
        let Happening::StepBegins { cycle, step } = &begun.what else { continue };
        if *cycle == 0 {
            continue;
        }
        if *cycle != anchor.cycle {
            next = 0;
        }
        // Steps that found nothing to do did not begin.
        let is = |spec: &StepSpec| spec.step.name() == step;
        let found = steps.iter().skip(next).position(is).map_or(next, |ahead| next + ahead);
        (anchor.step, anchor.cycle, next) = (found.min(steps.len().saturating_sub(1)), *cycle, found + 1);
    }
    if anchor.cycle == 0 { Err("it lies before the first step".into()) } else { Ok(anchor) }
}

/// All steps up to the one that is cut, of all cycles, and what brings the machine back.
fn steps(facts: &Facts<'_>, anchor: &Anchor) -> Result<Array, String> {
    let context = facts.context;
    let value = |spec: &StepSpec| -> Result<Value, String> {
        let text = context.text.get(spec.place.clone()).ok_or("the text is of another scenario")?;
        let value: Value = text.parse().map_err(|error| format!("a step that cannot be copied: {error}"))?;
        let name = match &value {
            Value::InlineTable(table) => table.get("do").and_then(Value::as_str),
            value => value.as_str(),
        };
        // A step that was recorded in place of another one, since the power was not cut.
        Ok(if name == Some(spec.step.name()) { value } else { Value::from(spec.step.name()) })
    };
    let mut steps = Array::new();
    let whole = (1..anchor.cycle).flat_map(|_| &context.scenario.steps);
    let last = context.scenario.steps.iter().take(anchor.step + 1);
    for spec in whole.chain(last) {
        steps.push_formatted(value(spec)?.decorated(" ", ""));
    }
    // As the step behind would have brought it back, which may boot with arguments of its own.
    let back = context.scenario.steps.iter().skip(anchor.step + 1).find(|spec| spec.step.begins_off());
    let mut recover = match back.map(value) {
        Some(Ok(Value::InlineTable(table))) => {
            let kept = ["kernel", "arguments", "machine"];
            let fields = table.iter().filter(|(key, _)| kept.contains(key));
            fields.map(|(key, value)| (key.to_owned(), value.clone())).collect()
        }
        _ => InlineTable::new(),
    };
    let recover = if recover.is_empty() {
        Value::from("recover")
    } else {
        recover.insert("do", "recover".into());
        Value::from(recover)
    };
    steps.push_formatted(recover.decorated(" ", ""));
    steps.push_formatted(Value::from(Step::Check.name()).decorated(" ", ""));
    Ok(steps)
}

fn when(facts: &Facts<'_>, anchor: &Anchor) -> Result<Value, String> {
    let entries = facts.context.record.entries();
    let step = facts.context.scenario.steps.get(anchor.step).map_or("", |spec| spec.step.name());
    let begins = |entry: &Entry| matches!(&entry.what, Happening::StepBegins { cycle, step: name } if *cycle > 0 && name == step);
    let begun = entries.iter().position(begins).ok_or("its step never began")?;
    let counted = entries.get(begun..=anchor.entry).unwrap_or_default();
    let count =
        |is: &dyn Fn(&Happening) -> bool| counted.iter().filter(|entry| is(&entry.what)).count() as i64;
    let mut table = InlineTable::new();
    match entries.get(anchor.entry).map(|entry| &entry.what) {
        Some(Happening::Disk(event)) => {
            let kind = kind(event);
            // The header is named as such: then the same can be said to another kernel.
            let region = region(facts, event);
            let is = |other: &Happening| {
                let Happening::Disk(other) = other else { return false };
                let touches = || match &region {
                    Some((_, sectors)) => {
                        extent(other).is_some_and(|(start, end)| start < sectors.1 && sectors.0 < end)
                    }
                    None => true,
                };
                other.disk == event.disk && other.step == event.step && self::kind(other) == kind && touches()
            };
            table.insert(kind, count(&is).into());
            table.insert("is", step_name(event.step).into());
            table.insert("disk", facts.disk(event.disk.into()).into());
            if let Some((name, _)) = &region {
                table.insert("region", (*name).into());
            }
            table.insert("during", step.into());
        }
        Some(Happening::SleepRegister { slp_typ }) => {
            let state = devices::acpi_pm::SleepState::of_slp_typ(*slp_typ).ok_or("an unknown SLP_TYP")?;
            let is = |other: &Happening| matches!(other, Happening::SleepRegister { slp_typ: typ } if typ == slp_typ);
            table.insert("sleep-register", format!("{state:?}").to_lowercase().into());
            table.insert("nth", count(&is).into());
            table.insert("during", step.into());
        }
        Some(Happening::Power(PowerEvent::Off)) => {
            let is =
                |other: &Happening| matches!(other, Happening::StepBegins { step: name, .. } if name == step);
            table.insert("step", step.into());
            table.insert("is", "ends".into());
            table.insert("nth", count(&is).into());
        }
        Some(Happening::Power(PowerEvent::Asleep)) => {
            let first = entries.iter().position(|entry| entry.what == Happening::Power(PowerEvent::Asleep));
            if first != Some(anchor.entry) {
                return Err("no trigger names another sleep than the first".into());
            }
            return Ok(Value::from("s3-entered"));
        }
        _ => return Err("no trigger names it".into()),
    }
    Ok(Value::from(table))
}

/// As the language calls a request.
fn kind(event: &DiskEvent) -> &'static str {
    match event.action {
        DiskAction::Read(_) => "read",
        DiskAction::Write { .. } => "write",
        DiskAction::Flush => "flush",
        DiskAction::Discard(_) => "discard",
        DiskAction::WriteZeroes(_) => "write-zeroes",
    }
}

fn step_name(step: DiskStep) -> &'static str {
    match step {
        DiskStep::Accepted => "accepted",
        DiskStep::Completed => "completed",
        DiskStep::Failed => "failed",
        DiskStep::Durable => "durable",
    }
}

/// First sector, and the one behind the last.
fn extent(event: &DiskEvent) -> Option<(u64, u64)> {
    match event.action {
        DiskAction::Read(extent)
        | DiskAction::Write { extent, .. }
        | DiskAction::Discard(extent)
        | DiskAction::WriteZeroes(extent) => Some((extent.sector, extent.end())),
        DiskAction::Flush => None,
    }
}

/// The region of a commit record that a request writes, and its sectors, if there is only one such region in the scenario.
fn region(facts: &Facts<'_>, event: &DiskEvent) -> Option<(&'static str, (u64, u64))> {
    let (start, end) = extent(event)?;
    let commits = facts.owners.commits();
    let commit = commits.iter().find(|commit| {
        commit.disk == usize::from(event.disk) && start <= commit.sector && commit.sector < end
    })?;
    let alike: BTreeSet<u64> =
        commits.iter().filter(|other| other.what == commit.what).map(|other| other.sector).collect();
    let is_only = alike.len() == 1;
    match commit.what {
        Use::Swap => is_only.then_some(("swap-header", (commit.sector.saturating_sub(7), commit.sector + 1))),
        Use::Image => is_only.then_some(("image-header", (commit.sector, commit.sector + 1))),
        Use::Ext4 => None,
    }
}

fn survives(facts: &Facts<'_>, then: &Then) -> Value {
    let pending: usize = then.disks.iter().map(|disk| disk.pending.len()).sum();
    if facts.loss.is_empty() {
        return Value::from("everything");
    }
    if facts.loss.count() == pending && !facts.loss.is_torn() {
        return Value::from("nothing");
    }
    let mut each: Vec<Value> = Vec::new();
    for disk in 0..then.disks.len() {
        let lost = facts.loss.on(disk);
        if lost.is_empty() {
            continue;
        }
        let mut table = InlineTable::new();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut numbers = Array::new();
        for request in lost {
            let torn = facts.loss.sectors(disk, request);
            if torn.is_empty() {
                numbers.push(number(request));
            }
            for extent in torn {
                let mut table = InlineTable::new();
                table.insert("request", number(request).into());
                let sectors: Array = [extent.sector, extent.end()].map(number).into_iter().collect();
                table.insert("sectors", Value::Array(sectors));
                numbers.push(Value::from(table));
            }
        }
        table.insert("lose", Value::Array(numbers));
        table.insert("disk", facts.disk(disk).into());
        each.push(Value::from(table));
    }
    match <[Value; 1]>::try_from(each) {
        Ok([one]) => one,
        Err(each) => Value::from(each.into_iter().collect::<Array>()),
    }
}
