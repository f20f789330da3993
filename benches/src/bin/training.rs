//! Trains on the documented folds by the code that leadline trains with, beside the published figures of LightGBM 4.7
//! (defaults; its native categoricals where they are better) and scikit-learn's logistic regression on the same folds.
//!
//! `cargo run -p leadline-benches --bin training`

use std::time::Instant;

use anyhow::Result;
use comfy_table::{Table, presets};
use leadline_benches::tables::{bank_full, crm_opportunities, telco_churn};
use leadline_learning::{Frame, PredictionDefinition, Trained, TrainingOptions, silent, train};

/// What others reach on the same split (the data sets' SOURCE.md), and what leadline is held to.
struct Peers {
    lightgbm: &'static str,
    logistic: &'static str,
    target: Option<f64>,
}

struct Run {
    trained: Trained,
    seconds: f64,
}

fn run(frame: &Frame, definition: &PredictionDefinition, holdout_part: u64) -> Result<Run> {
    let started = Instant::now();
    let options = TrainingOptions { holdout_part, ..TrainingOptions::default() };
    let trained = train(frame, definition, &options, None, &silent)?;
    Ok(Run { trained, seconds: started.elapsed().as_secs_f64() })
}

fn add(table: &mut Table, name: &str, run: &Run, peers: &Peers) {
    let card = &run.trained.card;
    let evaluation = &card.evaluation;
    let auc = evaluation.auc;
    let refusals: Vec<String> = card.gates.refusals().map(|gate| format!("{:?}", gate.code)).collect();
    let model = &card.model;
    table.add_row([
        name.to_owned(),
        format!("{:.4} ({:.4}-{:.4})", auc.value, auc.lower, auc.upper),
        peers.target.map_or("-".to_owned(), |t| format!("{t:.4} {}", verdict(auc.value, t))),
        peers.lightgbm.to_owned(),
        peers.logistic.to_owned(),
        format!("{:.4} ({:.4})", evaluation.log_loss.value, evaluation.base_log_loss),
        format!("{:.4}", evaluation.calibration_error.value),
        format!("{} trees, {:.2}", model.trees, model.tree_weight),
        if refusals.is_empty() { "passed".to_owned() } else { format!("refused: {}", refusals.join(", ")) },
        format!("{:.1}", run.seconds),
    ]);
}

fn verdict(found: f64, target: f64) -> &'static str {
    if found >= target { "met" } else { "MISSED" }
}

fn main() -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "data",
        "AUC (95 %)",
        "target",
        "LightGBM",
        "logistic",
        "log loss (base)",
        "ECE",
        "model, tree weight",
        "gates",
        "s",
    ]);

    let frame = bank_full()?;
    let mut definition = PredictionDefinition::new("bank", "Lead", "y", &["yes"]);
    let none = Peers { lightgbm: "", logistic: "", target: None };
    let with_duration = Peers { lightgbm: "0.9384", logistic: "0.9101", target: None };
    let flagged = run(&frame, &definition, 0)?;
    add(&mut table, "bank-full, all fields, fold 0", &flagged, &with_duration);
    definition.excluded_fields = vec!["duration".to_owned()];
    let mut aucs = Vec::new();
    for fold in 0..5 {
        let peers = Peers { lightgbm: "0.8048", logistic: "0.7682", target: Some(0.8036) };
        let found = run(&frame, &definition, fold)?;
        aucs.push(found.trained.card.evaluation.auc.value);
        add(&mut table, &format!("bank-full, no duration, fold {fold}"), &found, if fold == 0 { &peers } else { &none });
    }
    let mean = aucs.iter().sum::<f64>() / aucs.len() as f64;
    let mut mean_row = vec!["bank-full, no duration, mean of 5".to_owned(), format!("{mean:.4}")];
    mean_row.extend([format!("0.8007 {}", verdict(mean, 0.8007)), "0.8007".to_owned()]);
    table.add_row(mean_row);

    let telco = run(&telco_churn()?, &telco_definition(), 0)?;
    let peers = Peers { lightgbm: "0.8258", logistic: "0.8372", target: Some(0.8372) };
    add(&mut table, "telco-churn, fold 0", &telco, &peers);

    let crm = run(&crm_opportunities()?, &crm_definition(), 0)?;
    let peers = Peers { lightgbm: "0.5088", logistic: "0.4782", target: None };
    add(&mut table, "crm-sales-opportunities, fold 0", &crm, &peers);

    println!("{table}");
    for (name, run) in [("bank-full, all fields", &flagged), ("crm-sales-opportunities", &crm)] {
        for leak in &run.trained.card.leaks {
            println!("{name}: {} ({:?}, {:?}): {}", leak.field, leak.severity, leak.decision, leak.finding);
        }
    }
    for gate in crm.trained.card.gates.refusals() {
        println!("crm-sales-opportunities: {:?} refuses: {}", gate.code, gate.detail);
    }
    Ok(())
}

fn telco_definition() -> PredictionDefinition {
    let mut definition = PredictionDefinition::new("telco", "Account", "Churn", &["Yes"]);
    definition.id_field = "customerID".to_owned();
    definition
}

/// Only closed opportunities have an outcome; the close date is written with it.
fn crm_definition() -> PredictionDefinition {
    let mut definition = PredictionDefinition::new("crm", "Opportunity", "deal_stage", &["Won"]);
    definition.id_field = "opportunity_id".to_owned();
    definition.negative_values = vec!["Lost".to_owned()];
    definition.outcome_fields = vec!["close_date".to_owned()];
    definition
}
