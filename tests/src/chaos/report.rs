//! What a run has shown, for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    Plan,
    load::Outcome,
    recovery::Recovery,
    trouble::{Kill, Part},
};

pub struct Report {
    pub plan: Plan,
    pub took: Duration,
    pub done: Outcome,
    pub kills: Vec<Kill>,
    /// What does not hold.
    pub violations: Vec<String>,
    pub recovery: Recovery,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, tenants, .. } = self.plan;
        let sagas = self.done.done.len();
        writeln!(f, "seed {seed}: {sagas} sagas of {tenants} tenants in {:.0} s", self.took.as_secs_f64())?;
        let mut ends: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for done in &self.done.done {
            *ends.entry((done.text("kind"), done.text("state"))).or_default() += 1;
        }
        for ((kind, state), count) in ends {
            writeln!(f, "  {kind:<16} {state:<10} {count:>5}")?;
        }
        if !self.done.refused.is_empty() {
            let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
            self.done.refused.iter().for_each(|code| *codes.entry(code).or_default() += 1);
            writeln!(f, "starts that were refused, and are not counted above: {codes:?}")?;
        }
        let mut kills: BTreeMap<Part, usize> = BTreeMap::new();
        self.kills.iter().for_each(|kill| *kills.entry(kill.part).or_default() += 1);
        let kills: Vec<_> = kills.iter().map(|(part, times)| format!("{part} {times}")).collect();
        writeln!(f, "killed: {}", kills.join(", "))?;
        let seconds = |part| self.recovery.quantile(part).as_secs_f64();
        let times = [0.5, 0.99, 1.0].map(seconds);
        writeln!(
            f,
            "went on after a worker's death: {} sagas, p50 {:.1} s, p99 {:.1} s, the last {:.1} s",
            self.recovery.count(),
            times[0],
            times[1],
            times[2]
        )?;
        writeln!(f, "does not hold: {}", self.violations.len())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}
