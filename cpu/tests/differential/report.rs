//! What was covered, and what went wrong.

use std::collections::BTreeMap;
use std::fmt::Write;

use iced_x86::{Code, Formatter, IntelFormatter};

use crate::case::{Case, Form, Outcome};
use crate::compare::differences;
use crate::excuses::excuse;
use crate::interpreted::Failure;

const BREAKPOINT: u8 = 3;

#[derive(Default)]
pub struct Report {
    cases: u64,
    /// Cases by the exception they ended with.
    vectors: BTreeMap<u8, u64>,
    /// Cases of each form that came to the INT3 after it.
    covered: BTreeMap<String, u64>,
    skipped: BTreeMap<&'static str, Vec<Form>>,
    excused: BTreeMap<&'static str, u64>,
    mismatches: Vec<(Form, String)>,
}

impl Report {
    pub fn skip(&mut self, form: Form, reason: &'static str) {
        self.skipped.entry(reason).or_default().push(form);
    }

    pub fn cannot_make(&mut self, form: Form) {
        self.mismatches.push((form, format!("  {form}: no instruction can be made of it\n")));
    }

    /// False if they differ.
    pub fn compare(&mut self, case: &Case, host: &Outcome, ours: Result<Outcome, Failure>) -> bool {
        self.cases += 1;
        let completed = self.covered.entry(case.form.to_string()).or_default();
        *completed += u64::from(host.vector == BREAKPOINT);
        *self.vectors.entry(host.vector).or_default() += 1;
        let differences = match &ours {
            Ok(ours) => differences(case, host, ours),
            Err(failure) => format!("      {failure:?}\n"),
        };
        if differences.is_empty() {
            return true;
        }
        if let Some(reason) = ours.ok().and_then(|ours| excuse(case, host, &ours)) {
            *self.excused.entry(reason).or_default() += 1;
            return true;
        }
        let mut assembly = String::new();
        IntelFormatter::new().format(&case.instruction, &mut assembly);
        let text = format!(
            "  {assembly}    {:02x?} at {:x}, rflags {:x}, exception {}\n{differences}      \
             KJVM_DIFFERENTIAL_CASE={}:{} cargo test -p cpu --test differential every_form\n",
            case.bytes, case.registers.rip, case.registers.rflags, host.vector, case.form, case.seed
        );
        self.mismatches.push((case.form, text));
        false
    }

    /// Prints what there is to say.
    ///
    /// # Panics
    /// If anything differed.
    pub fn finish(self) {
        let mut text = String::new();
        for (reason, forms) in &self.skipped {
            let _ = writeln!(
                text,
                "skipped, {reason}: {}",
                forms.iter().map(Form::to_string).collect::<Vec<_>>().join(" ")
            );
        }
        let skipped: usize = self.skipped.values().map(Vec::len).sum();
        let _ =
            writeln!(text, "{} cases of {} forms; {skipped} forms skipped", self.cases, self.covered.len());
        let _ = writeln!(text, "exceptions that ended them: {:?}", self.vectors);
        for (reason, cases) in &self.excused {
            let _ = writeln!(text, "{cases} cases may differ: {reason}");
        }
        let faulting =
            self.covered.iter().filter(|(_, completed)| **completed == 0).map(|(form, _)| form.as_str());
        let faulting: Vec<&str> = faulting.collect();
        let _ = writeln!(text, "{} forms always fault: {}", faulting.len(), faulting.join(" "));
        println!("{text}");
        let mut forms: Vec<String> = self.mismatches.iter().map(|(form, _)| form.to_string()).collect();
        forms.dedup();
        let all: String = self.mismatches.iter().map(|(_, text)| text.as_str()).collect();
        assert!(forms.is_empty(), "{all}{} forms differ: {}", forms.len(), forms.join(" "));
    }
}

/// A form and a seed as mismatches print them: `Add_r32_rm32/64:17`.
pub fn parse(text: &str) -> Option<(Form, u64)> {
    let (form, seed) = text.trim().split_once(':')?;
    let (name, bits) = form.split_once('/')?;
    let code = Code::values().find(|code| format!("{code:?}") == name)?;
    Some((Form { code, bits: bits.parse().ok()? }, seed.parse().ok()?))
}
