use std::ops::ControlFlow;

use leadline_domain::value::Value;
use leadline_learning::{
    Artifact, Budget, Frame, GateCode, LearningError, PredictionDefinition, Stage, Step, Trained, TrainingOptions, silent, train,
};

use crate::synthetic::{Leads, definition};

/// Enough for one candidate: these tests are about what is refused, not about skill.
pub fn small() -> TrainingOptions {
    TrainingOptions { budget: Budget { tree_rows: 7_000_000 }, ..TrainingOptions::default() }
}

fn trained(frame: &Frame, definition: &PredictionDefinition, incumbent: Option<&Artifact>) -> Trained {
    train(frame, definition, &small(), incumbent, &silent).unwrap()
}

fn refused(trained: &Trained) -> Vec<GateCode> {
    trained.card.gates.refusals().map(|gate| gate.code).collect()
}

#[test]
fn a_model_with_skill_passes_every_gate_and_reports_honest_intervals() {
    let found = trained(&Leads::generate(3_000, 21).frame(), &definition(), None);
    assert_eq!(refused(&found), [], "{:?}", found.card.gates);
    let evaluation = &found.card.evaluation;
    assert!(evaluation.auc.lower > 0.6 && evaluation.auc.upper < 0.9, "{:?}", evaluation.auc);
    for estimate in [
        evaluation.auc,
        evaluation.pr_auc,
        evaluation.log_loss,
        evaluation.brier,
        evaluation.lift_10,
        evaluation.lift_20,
        evaluation.calibration_error,
    ] {
        assert!(estimate.lower < estimate.value && estimate.value < estimate.upper, "{estimate:?}");
    }
    assert!(evaluation.calibration_error.value < 0.08, "{:?}", evaluation.calibration_error);
    assert!(!evaluation.segments.is_empty());
    let confusion = evaluation.confusion;
    let cells = confusion.true_positives + confusion.false_positives + confusion.true_negatives + confusion.false_negatives;
    assert_eq!(cells, found.card.counts.holdout);
}

#[test]
fn a_model_without_skill_is_refused_by_rank_or_by_loss() {
    // The label is dealt by the row number: no field knows it.
    let leads = Leads::generate(3_000, 22).with("IsConverted", |i, _| Value::Boolean((i * 7_919) % 10 < 3));
    let found = trained(&leads.with("Conversion_Path__c", |_, _| Value::Null).frame(), &definition(), None);
    assert!(!found.card.gates.passed());
    let codes = refused(&found);
    assert!(codes.contains(&GateCode::RanksBetterThanChance) || codes.contains(&GateCode::BeatsBaseRate), "{codes:?}");
}

#[test]
fn too_few_positives_and_empty_critical_fields_are_refused() {
    let rare =
        Leads::generate(1_500, 23).with("IsConverted", |i, old| Value::Boolean(i % 6 == 0 && *old == Value::Boolean(true)));
    let mut strict = definition();
    strict.critical_fields = vec!["Region__c".to_owned(), "HasBudget__c".to_owned()];
    let found = trained(&rare.frame(), &strict, None);
    let codes = refused(&found);
    assert!(codes.contains(&GateCode::EnoughPositives), "{codes:?}");
    assert!(codes.contains(&GateCode::CriticalFieldsFilled), "{codes:?}");
    let gate = found.card.gates.refusals().find(|g| g.code == GateCode::CriticalFieldsFilled).unwrap();
    assert!(gate.detail.contains("Region__c is empty in") && !gate.detail.contains("HasBudget__c"), "{}", gate.detail);
}

#[test]
fn a_worse_model_does_not_follow_a_better_one_but_an_equal_one_may() {
    let frame = Leads::generate(3_000, 24).frame();
    let better = trained(&frame, &definition(), None);
    let mut blind = definition();
    blind.excluded_fields.extend(["HasBudget__c", "LeadSource", "NumberOfEmployees"].map(str::to_owned));
    let worse = trained(&frame, &blind, Some(&better.artifact));
    assert!(refused(&worse).contains(&GateCode::NotWorseThanProduction), "{:?}", worse.card.gates);
    let again = trained(&frame, &definition(), Some(&better.artifact));
    assert_eq!(refused(&again), []);
}

#[test]
fn what_holds_only_for_the_past_is_refused_by_the_check_forward_in_time() {
    // The budget decides until the latest quarter, and then turns round; the random hold-out hardly sees it.
    let plain = Leads::generate(3_000, 25);
    let created = plain.schema.position("CreatedDate").unwrap();
    let budget = plain.schema.position("HasBudget__c").unwrap();
    let late: Vec<bool> =
        plain.rows.iter().map(|row| matches!(row[created], Value::DateTime(t) if t.timestamp() >= 1_720_000_000)).collect();
    let label: Vec<bool> = plain
        .rows
        .iter()
        .enumerate()
        .map(|(i, row)| ((row[budget] == Value::Boolean(true)) != late[i]) != (i % 5 == 0))
        .collect();
    let leads = plain.with("IsConverted", |i, _| Value::Boolean(label[i])).with("Conversion_Path__c", |_, _| Value::Null);
    let leads = leads.with("FirstContact__c", |_, _| Value::Null);
    let found = trained(&leads.frame(), &definition(), None);
    assert_eq!(refused(&found), [GateCode::HoldsForwardInTime], "{:?}", found.card.gates);
    let check = found.card.temporal.unwrap();
    assert_eq!(check.field, "CreatedDate");
    assert!(check.auc.upper < 0.5 && check.warning.is_some(), "{check:?}");
}

#[test]
fn data_that_cannot_be_learnt_from_ends_with_its_own_code() {
    let fail = |leads: Leads, definition: &PredictionDefinition, options: &TrainingOptions| {
        train(&leads.frame(), definition, options, None, &silent).unwrap_err()
    };
    let one_class = Leads::generate(200, 26).with("IsConverted", |_, _| Value::Boolean(false));
    assert!(matches!(fail(one_class, &definition(), &small()), LearningError::LabelNotBinary { .. }));
    let unknown = Leads::generate(200, 26).with("IsConverted", |_, _| Value::Null);
    assert!(matches!(fail(unknown, &definition(), &small()), LearningError::LabelMissing { .. }));
    let few = Leads::generate(25, 26);
    assert!(matches!(fail(few, &definition(), &small()), LearningError::TooFewRows { .. }));
    let poor = TrainingOptions { budget: Budget { tree_rows: 1_000 }, ..small() };
    assert!(matches!(fail(Leads::generate(500, 26), &definition(), &poor), LearningError::BudgetExceeded { allowed: 1_000, .. }));
    let mut elsewhere = definition();
    elsewhere.label_field = "Won".to_owned();
    assert!(matches!(fail(Leads::generate(200, 26), &elsewhere, &small()), LearningError::ColumnMissing { role: "label", .. }));
}

#[test]
fn a_caller_sees_the_stages_and_can_stop_in_any_of_them() {
    let frame = Leads::generate(400, 27).frame();
    for stage in [Stage::LeakChecks, Stage::Encoding, Stage::Searching, Stage::Fitting, Stage::Evaluating] {
        let stop = |step: Step| {
            assert!(step.done <= step.total);
            if step.stage == stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = train(&frame, &definition(), &small(), None, &stop).unwrap_err();
        assert_eq!(error, LearningError::Aborted(stage));
    }
}
