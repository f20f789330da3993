use leadline_domain::value::{FieldType, Value};
use leadline_learning::encoder::{Encoder, Encoding, FeatureForm, form_of};
use leadline_learning::metrics::auc;
use leadline_learning::population::Population;
use leadline_learning::{Frame, FrameBuilder, LearningError, Record};

use crate::synthetic::{Leads, definition};

fn fitted(frame: &Frame) -> (Population, Encoder, leadline_learning::matrix::Matrix) {
    let population = Population::select(frame, &definition(), 0).unwrap();
    let features: Vec<_> = (2..frame.schema().fields.len())
        .map(|column| (column, form_of(frame, column, &population.training.rows)))
        .filter(|(_, form)| !matches!(form, FeatureForm::Unusable(_)))
        .collect();
    let (encoder, matrix) = Encoder::fit(frame, &population.training, &population.folds, &features);
    (population, encoder, matrix)
}

fn encoding<'a>(encoder: &'a Encoder, field: &str) -> &'a Encoding {
    &encoder.fields.iter().find(|f| f.field.name == field).unwrap().encoding
}

#[test]
fn a_record_is_encoded_the_same_alone_and_in_a_frame() {
    let leads = Leads::generate(1_500, 1);
    let frame = leads.frame();
    let (_, encoder, _) = fitted(&frame);
    let rows: Vec<u32> = (0..frame.rows() as u32).collect();
    let matrix = encoder.encode_frame(&frame, &rows).unwrap();
    let mut row = vec![0.0; matrix.columns];
    for i in 0..frame.rows() {
        matrix.read_row(i, &mut row);
        // Ids ascend with the row number, so frame order is row order.
        let alone = encoder.encode(&leads.record(i)).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&alone), bits(&row), "row {i}");
    }
}

#[test]
fn each_field_takes_the_form_that_its_values_allow() {
    let frame = Leads::generate(3_000, 2).frame();
    let (_, encoder, _) = fitted(&frame);
    assert!(matches!(encoding(&encoder, "LeadSource"), Encoding::Levels { levels, .. } if levels.len() == 5));
    assert!(matches!(encoding(&encoder, "OwnerId"), Encoding::Target { .. }));
    assert!(matches!(encoding(&encoder, "Campaign__c"), Encoding::Target { .. }));
    assert!(matches!(encoding(&encoder, "FirstContact__c"), Encoding::Day { .. }));
    let absent = |field: &str| encoder.fields.iter().all(|f| f.field.name != field);
    assert!(absent("Email"), "an identifier that every row has is no feature");
    assert!(absent("Account_Ref__c"), "a reference with one value a row is no feature");
    assert!(absent("Leadline_Score__c"), "an empty field is no feature");
}

#[test]
fn unseen_levels_and_missing_values_have_a_defined_place() {
    let frame = Leads::generate(1_500, 3).frame();
    let (_, encoder, _) = fitted(&frame);
    let place =
        |field: &str| encoder.fields.iter().take_while(|f| f.field.name != field).map(|f| f.encoding.width()).sum::<usize>();
    let encode = |field: &str, value: Value| encoder.encode(&Record::from_iter([(field, value)])).unwrap()[place(field)];
    let text = |t: &str| Value::Text(t.to_owned());

    assert!(encoder.encode(&Record::new()).unwrap()[place("LeadSource")].is_nan(), "a missing field is null");
    let (low, unseen, high) =
        (encode("LeadSource", text("Cold call")), encode("LeadSource", text("Fax")), encode("LeadSource", text("Referral")));
    assert!(low < unseen && unseen < high, "an unseen level stands where the base rate would: {low} {unseen} {high}");
    assert_eq!(encode("OwnerId", text("nobody")), encode("OwnerId", Value::Null), "both have the base rate's log-odds");

    let wrong = encoder.encode(&Record::from_iter([("NumberOfEmployees", text("many"))])).unwrap_err();
    assert!(
        matches!(&wrong, LearningError::TypeMismatch { field, expected: FieldType::Number, .. } if field == "NumberOfEmployees")
    );
    assert!(!wrong.to_string().contains("many"), "an error never holds the value: {wrong}");
}

#[test]
fn target_statistics_of_the_training_rows_do_not_read_their_own_label() {
    // 300 campaigns of pure noise: with in-sample statistics they would order the training rows far better than chance.
    let frame = Leads::generate(3_000, 4).frame();
    let (population, encoder, matrix) = fitted(&frame);
    let column = encoder.fields.iter().take_while(|f| f.field.name != "Campaign__c").map(|f| f.encoding.width()).sum();
    let labels = &population.training.labels;
    let in_sample = encoder.encode_frame(&frame, &population.training.rows).unwrap();
    assert!(auc(in_sample.column(column), labels) > 0.65, "in sample: {}", auc(in_sample.column(column), labels));
    assert!(auc(matrix.column(column), labels) < 0.55, "out of fold: {}", auc(matrix.column(column), labels));
}

#[test]
fn bad_rows_are_refused_with_a_code_and_leave_the_frame_as_it_was() {
    let leads = Leads::generate(3, 5);
    let mut builder = FrameBuilder::new(&leads.schema, "Id").unwrap();
    builder.push(&leads.rows[0]).unwrap();
    let mut mistyped = leads.rows[1].clone();
    mistyped[5] = Value::Text("yes".to_owned());
    assert!(matches!(builder.push(&mistyped), Err(LearningError::TypeMismatch { field, .. }) if field == "HasBudget__c"));
    assert!(matches!(builder.push(&leads.rows[1][1..]), Err(LearningError::RowWidth { expected: 15, found: 14 })));
    let mut nameless = leads.rows[1].clone();
    nameless[0] = Value::Null;
    assert!(matches!(builder.push(&nameless), Err(LearningError::RecordIdMissing { .. })));
    assert_eq!(builder.rows(), 1);
    builder.push(&leads.rows[0]).unwrap();
    assert!(matches!(builder.finish(), Err(LearningError::DuplicateRecords { count: 1 })));
    let empty = FrameBuilder::new(&leads.schema, "Id").unwrap().finish();
    assert!(matches!(empty, Err(LearningError::EmptyDataSet { .. })));
    assert!(matches!(FrameBuilder::new(&leads.schema, "Key"), Err(LearningError::ColumnMissing { .. })));
}

#[test]
fn prose_gives_up_its_content_but_not_its_length() {
    let leads = Leads::generate(40, 6).with("Email", |i, _| Value::Text("é".repeat(if i == 39 { 131_072 } else { i + 1 })));
    let frame = leads.frame();
    let column = frame.schema().position("Email").unwrap();
    assert_eq!(frame.cell(column, 2).display(), "text of 3 characters");
    assert_eq!(frame.cell(column, 39).display(), "text of 131072 characters");
}

#[test]
fn a_unique_text_is_read_by_its_length_if_it_is_prose_and_by_its_presence_if_it_is_an_identifier() {
    let text = |with: &'static str| move |i: usize| Value::Text(with.replace('#', &i.to_string()));
    let form = |value: &dyn Fn(usize) -> Value, long: bool| {
        let leads = Leads::generate(600, 7).with("Email", |i, _| match i {
            0 if long => Value::Text("word ".repeat(500)),
            i if i.is_multiple_of(10) => Value::Null,
            i => value(i),
        });
        let frame = leads.frame();
        let rows: Vec<u32> = (0..600).collect();
        form_of(&frame, frame.schema().position("Email").unwrap(), &rows)
    };
    for long in [false, true] {
        for identifier in ["person#@example.org", "+1 (415) 555 #", "https://example.org/#"] {
            assert_eq!(form(&text(identifier), long), FeatureForm::Presence, "{identifier}");
        }
        assert_eq!(form(&text("asked about offer # twice"), long), FeatureForm::Length);
    }
}

#[test]
fn a_rare_level_is_encoded_in_training_as_it_will_be_when_a_prediction_is_wanted() {
    // Fifty campaigns with many rows each, and many with two.
    let campaign = |i: usize| if i.is_multiple_of(4) { format!("small {}", i / 8) } else { format!("large {}", i % 50) };
    let leads = Leads::generate(1_500, 8).with("Campaign__c", |i, _| Value::Text(campaign(i)));
    let frame = leads.frame();
    let (population, encoder, matrix) = fitted(&frame);
    let Encoding::Target { levels, unseen, .. } = encoding(&encoder, "Campaign__c") else { panic!("{encoder:?}") };
    let place = encoder.fields.iter().take_while(|f| f.field.name != "Campaign__c").map(|f| f.encoding.width()).sum::<usize>();
    let column = frame.schema().position("Campaign__c").unwrap();
    let rare = |row: u32| !levels.iter().any(|level| **level == *frame.cell(column, row as usize).display());
    let rows = population.training.rows.iter().zip(matrix.column(place)).filter(|(row, _)| rare(**row));
    let odds: Vec<f64> = rows.map(|(_, odds)| *odds).collect();
    assert!(odds.len() > 50 && odds.iter().all(|o| o == unseen), "{} rare rows", odds.len());

    let scattered = Leads::generate(300, 9).with("Campaign__c", |i, _| Value::Text(format!("campaign {}", i / 3)));
    let frame = scattered.frame();
    let rows: Vec<u32> = (0..300).collect();
    assert!(matches!(form_of(&frame, column, &rows), FeatureForm::Unusable(_)), "no level occurs often enough");
}
