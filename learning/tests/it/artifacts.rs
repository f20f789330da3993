use leadline_domain::value::{FieldType, Value};
use leadline_learning::{Artifact, Direction, LearningError, Record, Trained, card_html, silent, train};
use serde_json::{Value as Json, json};

use crate::gates::small;
use crate::synthetic::{Leads, definition};

fn trained() -> (Leads, Trained) {
    let leads = Leads::generate(2_500, 41);
    let trained = train(&leads.frame(), &definition(), &small(), None, &silent).unwrap();
    (leads, trained)
}

#[test]
fn an_artifact_reads_back_exactly_and_scores_alike_on_both_paths() {
    let (leads, Trained { artifact, .. }) = trained();
    let bytes = artifact.to_bytes();
    let read = Artifact::from_bytes(&bytes).unwrap();
    assert_eq!(read, artifact);
    assert_eq!(read.to_bytes(), bytes);
    let frame = leads.frame();
    read.check_schema(frame.schema()).unwrap();
    let rows: Vec<u32> = (0..frame.rows() as u32).collect();
    let margins = artifact.margins(&frame, &rows).unwrap();
    for (i, margin) in margins.iter().enumerate() {
        let score = read.score(&leads.record(i)).unwrap();
        assert_eq!(score.raw.to_bits(), margin.to_bits(), "row {i}");
    }
}

#[test]
fn the_reasons_add_up_to_the_score_and_speak_the_fields_own_language() {
    let (leads, Trained { artifact, .. }) = trained();
    for i in 0..300 {
        let score = artifact.score(&leads.record(i)).unwrap();
        let sum = score.bias + score.reasons.iter().map(|r| r.contribution).sum::<f64>();
        assert!((sum - score.raw).abs() < 1e-9, "row {i}: {sum} against {}", score.raw);
        assert!((0.0..=1.0).contains(&score.probability));
        assert!(score.reasons.windows(2).all(|w| w[0].contribution.abs() >= w[1].contribution.abs()));
        assert_eq!(score.reasons.len(), artifact.encoder.fields.len(), "one reason for each field");
    }
    let text = |t: &str| Value::Text(t.to_owned());
    let hopeful = Record::from_iter([
        ("LeadSource", text("Referral")),
        ("HasBudget__c", Value::Boolean(true)),
        ("NumberOfEmployees", Value::Number(900.0)),
    ]);
    let score = artifact.score(&hopeful).unwrap();
    let reason = |field: &str| score.reasons.iter().find(|r| r.field == field).unwrap();
    assert_eq!((reason("HasBudget__c").label.as_str(), reason("HasBudget__c").value.as_str()), ("Has budget", "true"));
    assert_eq!(reason("HasBudget__c").direction, Direction::Raises);
    assert_eq!(reason("NumberOfEmployees").value, "900");
    assert_eq!(reason("Region__c").value, "(empty)");
    let mut hopeless = hopeful.clone();
    hopeless.set("HasBudget__c", Value::Boolean(false));
    hopeless.set("LeadSource", text("Cold call"));
    assert!(artifact.score(&hopeless).unwrap().probability < score.probability / 1.5);
}

#[test]
fn a_damaged_or_foreign_artifact_is_refused() {
    let (_, Trained { artifact, .. }) = trained();
    let bytes = artifact.to_bytes();
    let refused = |bytes: &[u8]| Artifact::from_bytes(bytes).unwrap_err();
    assert!(matches!(refused(&bytes[..bytes.len() / 2]), LearningError::ArtifactFormat { .. }));
    assert!(matches!(refused(b"\xff\xfe"), LearningError::ArtifactFormat { .. }));
    let damaged = |damage: &dyn Fn(&mut Json)| {
        let mut json: Json = serde_json::from_slice(&bytes).unwrap();
        damage(&mut json);
        refused(&serde_json::to_vec(&json).unwrap())
    };
    assert_eq!(damaged(&|a| a["format_version"] = json!(2)), LearningError::ArtifactVersion { found: 2, supported: 1 });
    assert!(matches!(damaged(&|a| a["unknown"] = json!(1)), LearningError::ArtifactFormat { .. }));
    if artifact.trees.is_some() {
        let circle = damaged(&|a| a["trees"]["trees"][0]["left"][0] = json!(0));
        assert!(matches!(circle, LearningError::ArtifactFormat { .. }), "a tree that leads back to its root");
        let outside = damaged(&|a| a["trees"]["trees"][0]["feature"][0] = json!(999));
        assert!(matches!(outside, LearningError::ArtifactFormat { .. }), "a column that is not there");
    }
    let unsorted = damaged(&|a| a["encoder"]["fields"][0]["encoding"]["levels"].as_array_mut().unwrap().reverse());
    assert!(matches!(unsorted, LearningError::ArtifactFormat { .. }), "levels that cannot be searched");
}

#[test]
fn a_schema_that_lost_or_changed_a_field_is_refused() {
    let (leads, Trained { artifact, .. }) = trained();
    let mut retyped = leads.schema.clone();
    retyped.fields[4].field_type = FieldType::Text;
    assert!(
        matches!(artifact.check_schema(&retyped), Err(LearningError::SchemaMismatch { field, .. }) if field == "NumberOfEmployees")
    );
    let mut lost = leads.schema.clone();
    lost.fields.remove(2);
    assert!(matches!(artifact.check_schema(&lost), Err(LearningError::SchemaMismatch { field, .. }) if field == "LeadSource"));
    let mut unread = leads.schema.clone();
    unread.fields.retain(|f| f.name != "Conversion_Path__c");
    artifact.check_schema(&unread).unwrap();
}

#[test]
fn the_card_tells_the_whole_story_and_its_page_is_safe_to_open() {
    let (_, Trained { artifact, card }) = trained();
    let json = card.to_json();
    assert_eq!(json["artifact_digest"], artifact.digest());
    assert_eq!(serde_json::from_value::<leadline_learning::ModelCard>(json).unwrap(), card);
    assert_eq!(card.artifact_digest.len(), 64);
    assert!(card.features.windows(2).all(|w| w[0].importance >= w[1].importance));
    assert_eq!(card.features[0].field, "HasBudget__c", "{:?}", card.features);

    let page = card_html(&card);
    assert!(page.contains("Lead &lt;Source&gt; &amp; Co") && !page.contains("<Source>"), "labels are escaped");
    assert!(!page.contains("<script") && !page.contains("http"), "self-contained");
    for words in
        ["Call duration", "excluded by a person", "Conversion path", "excluded automatically", "known only with the outcome"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("NaN") && !page.contains("inf"), "every number can be drawn");
}

#[test]
fn neither_artifact_nor_card_holds_a_value_that_names_one_person() {
    let leads = Leads::generate(2_500, 42)
        .with("Email", |i, old| if i.is_multiple_of(3) { Value::Null } else { old.clone() })
        .with("Campaign__c", |i, old| if i.is_multiple_of(90) { Value::Text(format!("for person{i}")) } else { old.clone() })
        .with("Account_Ref__c", |_, _| Value::Null);
    let Trained { artifact, card } = train(&leads.frame(), &definition(), &small(), None, &silent).unwrap();
    for stored in [String::from_utf8(artifact.to_bytes()).unwrap(), card.to_json().to_string()] {
        assert!(stored.contains("Email") && !stored.contains("@example.org") && !stored.contains("for person"));
    }
    let score = artifact.score(&leads.record(1)).unwrap();
    assert_eq!(score.reasons.iter().find(|r| r.field == "Email").unwrap().value, "filled");
}
