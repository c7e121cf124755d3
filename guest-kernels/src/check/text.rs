//! The report as people read it: one line an ability, what is missing beside it, the count last.

use std::fmt;

use super::{ConfigSource, Report, Verdict};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kernel) = &self.kernel {
            write!(f, "kernel   {}", kernel.path.display())?;
            if kernel.release.is_empty() {
                writeln!(f, "   vmlinux")?;
            } else {
                let (release, compression, protocol) =
                    (&kernel.release, &kernel.compression, &kernel.protocol);
                writeln!(f, "   Linux {release}, {compression}, boot protocol {protocol}")?;
            }
        }
        match &self.config {
            ConfigSource::Kernel => writeln!(f, "config   carried by the kernel")?,
            ConfigSource::File(path) => writeln!(f, "config   {}", path.display())?,
        }
        writeln!(f)?;
        let width = self.verdicts.iter().map(|verdict| verdict.ability.name().len()).max().unwrap_or(0);
        for verdict in &self.verdicts {
            let mut name = verdict.ability.name();
            for line in lines(verdict) {
                writeln!(f, "  {name:width$}  {line}")?;
                name = "";
            }
        }
        let able = self.verdicts.iter().filter(|verdict| verdict.able).count();
        write!(f, "\n{able} of {}", self.verdicts.len())
    }
}

fn lines(verdict: &Verdict) -> Vec<String> {
    if verdict.able {
        let modules = match verdict.modules.as_slice() {
            [] => String::new(),
            modules => format!("   with modules {}", modules.join(", ")),
        };
        return vec![format!("yes{modules}")];
    }
    let mut reasons: Vec<String> = verdict
        .missing
        .iter()
        .map(|missing| format!("needs {} (is {}): {}", missing.wanted, missing.found, missing.why))
        .collect();
    if !verdict.unmet.is_empty() {
        let (all, choice): (Vec<_>, Vec<_>) =
            verdict.unmet.iter().partition(|unmet| verdict.ability.builds_on().contains(unmet));
        let names = |list: Vec<&super::Ability>, between: &str| {
            list.iter().map(|ability| ability.name()).collect::<Vec<_>>().join(between)
        };
        if !all.is_empty() {
            reasons.push(format!("needs {}", names(all, ", ")));
        }
        if !choice.is_empty() {
            reasons.push(format!("needs a disk: {}", names(choice, " or ")));
        }
    }
    let indent =
        |(number, reason): (usize, String)| format!("{} {reason}", if number == 0 { "no " } else { "   " });
    reasons.into_iter().enumerate().map(indent).collect()
}
