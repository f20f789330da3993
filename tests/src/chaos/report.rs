//! What a run has shown, for people.

use std::{cmp::Reverse, collections::BTreeMap, fmt, time::Duration};

use super::{
    Plan,
    load::Outcome,
    recovery::{Interrupted, Recovery, Task, quantile},
    trouble::{Kill, Part, worker_deaths},
};

/// Of the slowest steps.
const SHOWN: usize = 5;

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
        let mut killed: BTreeMap<Part, usize> = BTreeMap::new();
        self.kills.iter().for_each(|kill| *killed.entry(kill.part).or_default() += 1);
        let killed: Vec<_> = killed.iter().map(|(part, times)| format!("{part} {times}")).collect();
        writeln!(f, "killed: {}", killed.join(", "))?;
        self.recovery(f)?;
        writeln!(f, "does not hold: {}", self.violations.len())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}

impl Report {
    fn recovery(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recovery = &self.recovery;
        let kinds =
            [("sagas", recovery.of_sagas()), ("steps", recovery.of_steps()), ("workflow tasks", recovery.of_workflow_tasks())];
        writeln!(f, "went on after a worker's death, of what it had in its hands:")?;
        for (what, times) in kinds.into_iter().filter(|(_, times)| !times.is_empty()) {
            let [p50, p99, last] = [0.5, 0.99, 1.0].map(|part| quantile(&times, part).as_secs_f64());
            writeln!(f, "  {what:<14} {:>4}, p50 {p50:.1} s, p99 {p99:.1} s, the last {last:.1} s", times.len())?;
        }
        writeln!(f, "the slowest steps:")?;
        let steps = recovery.0.iter().filter_map(|Interrupted { task, death, after, .. }| match task {
            Task::Step(activity) => Some((activity, *death, (*after)?)),
            Task::Workflow => None,
        });
        let mut slowest: Vec<_> = steps.collect();
        slowest.sort_by_key(|(_, _, after)| Reverse(*after));
        slowest.iter().take(SHOWN).try_for_each(|(activity, death, after)| {
            let more = worker_deaths(&self.kills).filter(|other| death < other && *other < *death + *after).count();
            writeln!(f, "  {activity:<20} {:.1} s, workers that died meanwhile: {more}", after.as_secs_f64())
        })
    }
}
