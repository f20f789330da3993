//! Every saga keeps every law, at every step; see docs/laws.md.
//!
//! Steps are not listed by hand: a happy run is recorded, and its history says which activities there are, which of them is the
//! pivot, and what undoes them. One line for each saga and law says how many activities were visited.

mod case;
mod crash;
mod gone;
mod history;
mod laws;
mod run;
mod slate;

use std::{
    io::Write as _,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use futures::{FutureExt as _, future::BoxFuture};
use leadline_domain::OperationKind;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::laws::Happy;

/// Worlds that are tried at the same time.
const AT_ONCE: usize = 4;

type Law = fn(Arc<Happy>) -> BoxFuture<'static, usize>;

const LAWS: [(&str, Law); 17] = [
    ("1 repeat", |happy| laws::repeat(happy).boxed()),
    ("2 unwind", |happy| laws::unwind(happy).boxed()),
    ("2 nothing to undo", |happy| laws::nothing_to_undo(happy).boxed()),
    ("3 repeat the undo", |happy| laws::repeat_the_undo(happy).boxed()),
    ("4 lost answer", |happy| laws::lost_answer(happy).boxed()),
    ("4 lost commit", |happy| laws::lost_commit(happy).boxed()),
    ("4 lost put", |happy| laws::lost_put(happy).boxed()),
    ("5 crash", |happy| crash::crash(happy).boxed()),
    ("6 cancel", |happy| laws::cancel(happy).boxed()),
    ("7 park and resume", |happy| laws::park_and_resume(happy).boxed()),
    ("8 undo fails", |happy| laws::undo_fails(happy).boxed()),
    ("8 skip the undo", |happy| laws::skip_the_undo(happy).boxed()),
    ("9 duplicate start", |happy| laws::duplicate_start(happy).boxed()),
    ("11 zombie", |happy| laws::zombie(happy).boxed()),
    ("12 terminated run", |happy| gone::terminate(happy).boxed()),
    ("13 lost run", |happy| gone::lose(happy).boxed()),
    ("14 reset and cancel", |happy| gone::reset_and_cancel(happy).boxed()),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_saga_keeps_every_law() {
    assert!(LAWS.iter().any(|(name, _)| chosen("LAW", name)), "LAW names no law");
    assert!(OperationKind::ALL.iter().any(|kind| chosen("SAGA", kind.as_str())), "SAGA names no saga");
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut sagas = JoinSet::new();
    // `LAW=zombie SAGA=export cargo test ... --test laws` tries one.
    for kind in OperationKind::ALL.into_iter().filter(|kind| chosen("SAGA", kind.as_str())) {
        sagas.spawn(laws_of(kind, Arc::clone(&turns)));
    }
    let broken = sagas.join_all().await.concat();
    say(&format!("law 10 replay           {:>31} histories and prefixes", run::REPLAYED.load(Ordering::Relaxed)));
    assert!(broken.is_empty(), "{} laws broken:\n{}", broken.len(), broken.join("\n\n"));
    assert!(run::REPLAYED.load(Ordering::Relaxed) > 0, "law 10 has replayed something");
}

/// Puts one saga through the laws; answers what went wrong.
async fn laws_of(kind: OperationKind, turns: Arc<Semaphore>) -> Vec<String> {
    let happy = {
        let _turn = turns.acquire().await.expect("nobody closes it");
        match tokio::spawn(laws::record(kind)).await {
            Ok(happy) => Arc::new(happy),
            Err(panic) => return vec![format!("{kind}, the happy run: {}", said(panic))],
        }
    };
    let trials = LAWS.into_iter().filter(|(name, _)| chosen("LAW", name)).map(|(name, law)| {
        let (turns, happy) = (Arc::clone(&turns), Arc::clone(&happy));
        async move {
            let _turn = turns.acquire().await.expect("nobody closes it");
            let began = Instant::now();
            let outcome = tokio::spawn(law(happy)).await;
            report(kind, name, began, outcome.as_ref().ok());
            outcome.err().map(|panic| format!("{kind}, law {name}: {}", said(panic)))
        }
    });
    futures::future::join_all(trials).await.into_iter().flatten().collect()
}

fn chosen(variable: &str, name: &str) -> bool {
    std::env::var(variable).map_or(true, |wanted| name.contains(&wanted))
}

/// Past libtest's capture: the lines are the suite's result, also when it passes.
fn report(kind: OperationKind, law: &str, began: Instant, visited: Option<&usize>) {
    let visited = visited.map_or("BROKEN".to_owned(), |visited| format!("{visited} activities"));
    say(&format!("law {law:<18} {:<15} {visited:>14} {:>6.1} s", kind.as_str(), began.elapsed().as_secs_f64()));
}

fn say(line: &str) {
    // A closed standard error is no reason to fail.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn said(panic: tokio::task::JoinError) -> String {
    let panic = panic.into_panic();
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "panicked".to_owned())
}
