use leadline_domain::value::Value;
use leadline_learning::features::{Decision, ExcludedBy, FieldChoices, choose_fields};
use leadline_learning::leaks::{LeakCheck, check_leaks};
use leadline_learning::population::Population;
use leadline_learning::{Frame, LearningError, PredictionDefinition};

use crate::synthetic::Leads;

fn choose(frame: &Frame, definition: &PredictionDefinition) -> (Vec<LeakCheck>, FieldChoices) {
    let population = Population::select(frame, definition, 0).unwrap();
    let leaks = check_leaks(frame, definition, &population);
    let choices = choose_fields(frame, definition, &leaks, &population.training);
    (leaks, choices)
}

fn decision(choices: &FieldChoices, field: &str) -> Option<Decision> {
    choices.leaks.iter().find(|leak| leak.field == field).map(|leak| leak.decision)
}

fn excluded_by(choices: &FieldChoices, field: &str) -> Option<ExcludedBy> {
    choices.excluded.iter().find(|e| e.field == field).map(|e| e.by)
}

#[test]
fn a_field_filled_only_once_the_outcome_is_known_is_excluded_with_the_reason() {
    let frame = Leads::generate(3_000, 11).frame();
    let (leaks, choices) = choose(&frame, &PredictionDefinition::lead_conversion());
    let check = leaks.iter().find(|c| c.field == "Conversion_Path__c").unwrap();
    assert!(check.single_field_auc < 0.9, "its AUC alone would not give it away: {}", check.single_field_auc);
    assert_eq!(decision(&choices, "Conversion_Path__c"), Some(Decision::ExcludedAutomatically));
    let leak = choices.excluded.iter().find(|e| e.field == "Conversion_Path__c").unwrap();
    assert!(leak.reason.contains("known only with the outcome"), "{}", leak.reason);
    assert_eq!(excluded_by(&choices, "Leadline_Score__c"), Some(ExcludedBy::Nature), "leadline does not learn from itself");
}

#[test]
fn the_outcome_under_another_name_is_excluded_even_when_it_is_noisy_or_a_number() {
    let converted = |frame: &Frame, i: usize| frame.cell(1, i).display() == "true";
    let plain = Leads::generate(3_000, 12);
    let frame = plain.frame();
    let leads = plain
        .with("Campaign__c", |i, _| {
            Value::Text(if converted(&frame, i) != (i % 500 == 0) { "Closed" } else { "Open" }.to_owned())
        })
        .with("NumberOfEmployees", |i, _| Value::Number(if converted(&frame, i) { 1.0 + i as f64 } else { 0.0 }));
    let (_, choices) = choose(&leads.frame(), &PredictionDefinition::lead_conversion());
    assert_eq!(excluded_by(&choices, "Campaign__c"), Some(ExcludedBy::LeakCheck));
    assert_eq!(excluded_by(&choices, "NumberOfEmployees"), Some(ExcludedBy::LeakCheck), "zero for every lost deal");
}

#[test]
fn a_field_that_is_nearly_always_filled_with_the_outcome_is_excluded_although_some_other_rows_have_it() {
    let plain = Leads::generate(3_000, 14);
    let frame = plain.frame();
    let converted = |i: usize| frame.cell(1, i).display() == "true";
    let filled = |i: usize| if converted(i) { !i.is_multiple_of(20) } else { i.is_multiple_of(25) };
    let leads = plain.with("NumberOfEmployees", |i, _| if filled(i) { Value::Number((i % 97) as f64) } else { Value::Null });
    let (_, choices) = choose(&leads.frame(), &PredictionDefinition::lead_conversion());
    assert_eq!(excluded_by(&choices, "NumberOfEmployees"), Some(ExcludedBy::LeakCheck));
    let leak = choices.excluded.iter().find(|e| e.field == "NumberOfEmployees").unwrap();
    assert!(leak.reason.contains("of the positive rows"), "{}", leak.reason);
}

#[test]
fn a_suspiciously_strong_field_is_flagged_and_a_persons_choice_stands_beside_it() {
    let frame = Leads::generate(3_000, 13).frame();
    let mut definition = PredictionDefinition::lead_conversion();
    let (_, undecided) = choose(&frame, &definition);
    assert_eq!(decision(&undecided, "Call_Seconds__c"), Some(Decision::KeptUntilDecided));
    assert_eq!(excluded_by(&undecided, "Call_Seconds__c"), None, "flagged, and kept");

    definition.excluded_fields = vec!["Call_Seconds__c".to_owned()];
    definition.kept_fields = vec!["Conversion_Path__c".to_owned()];
    let (_, decided) = choose(&frame, &definition);
    assert_eq!(decision(&decided, "Call_Seconds__c"), Some(Decision::ExcludedByPerson));
    assert_eq!(excluded_by(&decided, "Call_Seconds__c"), Some(ExcludedBy::Person));
    let reason = &decided.excluded.iter().find(|e| e.field == "Call_Seconds__c").unwrap().reason;
    assert!(reason.contains("a person's choice") && reason.contains("by itself"), "the card says both: {reason}");
    assert_eq!(decision(&decided, "Conversion_Path__c"), Some(Decision::KeptByPerson));
    assert_eq!(excluded_by(&decided, "Conversion_Path__c"), None);

    definition.excluded_fields = vec!["Call_Second__c".to_owned()];
    let misspelt = Population::select(&frame, &definition, 0).unwrap_err();
    assert!(matches!(misspelt, LearningError::ColumnMissing { role: "excluded", .. }), "a misspelt exclusion is no exclusion");
}

#[test]
fn honest_fields_are_left_alone_however_many_values_they_have() {
    let frame = Leads::generate(3_000, 14).frame();
    let (leaks, choices) = choose(&frame, &PredictionDefinition::lead_conversion());
    for field in
        ["LeadSource", "Region__c", "NumberOfEmployees", "HasBudget__c", "OwnerId", "Campaign__c", "Email", "CreatedDate"]
    {
        assert_eq!(decision(&choices, field), None, "{field}");
    }
    for noise in ["Campaign__c", "Email", "Account_Ref__c"] {
        let auc = leaks.iter().find(|c| c.field == noise).unwrap().single_field_auc;
        assert!(auc < 0.56, "{noise} has thousands of values and no signal: {auc}");
    }
}

#[test]
fn a_rare_outcome_makes_no_field_with_nulls_a_leak() {
    // 0.5 % convert, whatever the fields say; a group of rows has 99.5 % negatives without knowing anything.
    let rare = |i: usize| i.wrapping_mul(2_654_435_761).is_multiple_of(200);
    let leads = Leads::generate(20_000, 15).with("IsConverted", |i, _| Value::Boolean(rare(i)));
    let leads = leads.with("Conversion_Path__c", |_, _| Value::Null);
    let (_, choices) = choose(&leads.frame(), &PredictionDefinition::lead_conversion());
    assert_eq!(choices.leaks, [], "honest fields");

    let reason = |i: usize| !rare(i) && i.is_multiple_of(2);
    let leads = leads.with("Region__c", |i, _| if reason(i) { Value::Text("lost".to_owned()) } else { Value::Null });
    let (_, choices) = choose(&leads.frame(), &PredictionDefinition::lead_conversion());
    assert_eq!(excluded_by(&choices, "Region__c"), Some(ExcludedBy::LeakCheck), "filled for half of the lost, and no other");
}

#[test]
fn a_box_that_is_ticked_or_an_amount_that_is_entered_with_the_outcome_is_excluded() {
    let plain = Leads::generate(3_000, 16);
    let frame = plain.frame();
    let late = |i: usize| frame.cell(1, i).display() == "true" && i % 5 < 2;
    let leads = plain
        .with("HasBudget__c", |i, _| Value::Boolean(late(i)))
        .with("NumberOfEmployees", |i, _| Value::Number(if late(i) { i as f64 } else { 0.0 }));
    let (leaks, choices) = choose(&leads.frame(), &PredictionDefinition::lead_conversion());
    for field in ["HasBudget__c", "NumberOfEmployees"] {
        let auc = leaks.iter().find(|c| c.field == field).unwrap().single_field_auc;
        assert!(auc < 0.75, "its AUC alone would not give it away: {auc}");
        assert_eq!(excluded_by(&choices, field), Some(ExcludedBy::LeakCheck), "{field}");
    }
    let converted = |i: usize| frame.cell(1, i).display() == "true";
    let unwilling = leads.with("HasBudget__c", |i, _| Value::Boolean(!converted(i) && i % 7 == 0));
    let (_, choices) = choose(&unwilling.frame(), &PredictionDefinition::lead_conversion());
    assert_eq!(excluded_by(&choices, "HasBudget__c"), None, "a wish such as not to be called is known beforehand");
}
