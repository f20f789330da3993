//! A lead-conversion model that was really trained, and a tenant in which it answers.

use std::sync::LazyLock;

use bytes::Bytes;
use chrono::DateTime;
use leadline_domain::{
    ConsentGrant, ModelId, ModelState, OperationId, TenantId,
    value::{Field, FieldType, ObjectSchema, Value},
};
use leadline_learning::{Artifact, Budget, FrameBuilder, PredictionDefinition, TrainingOptions, silent, train};
use leadline_store::{
    models::{self, NewModel, StagedArtifact},
    object_schemas,
    records::{self, RecordVersion, Snapshot},
};
use serde_json::json;

use crate::world::{Caller, World};

/// The one record in current state.
pub const RECORD: &str = "00Q000000000007AAA";

pub fn schema() -> ObjectSchema {
    let field =
        |name: &str, label: &str, field_type| Field { name: name.into(), label: label.into(), field_type, nullable: true };
    ObjectSchema {
        object: "Lead".into(),
        fields: vec![
            field("Id", "Lead ID", FieldType::Reference),
            field("Rating", "Rating", FieldType::Picklist),
            field("NumberOfEmployees", "Employees", FieldType::Number),
            field("Description", "Description", FieldType::Text),
            field("IsConverted", "Converted", FieldType::Boolean),
        ],
    }
}

fn definition() -> PredictionDefinition {
    let mut definition = PredictionDefinition::lead_conversion();
    definition.excluded_fields = vec!["Description".into()];
    definition
}

/// Hot leads of large companies convert more often: a linear congruential generator draws 3,000 of them (Knuth's MMIX).
fn rows() -> Vec<[Value; 5]> {
    let mut state = 7_u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let row = |i: usize| {
        let (hot, employees) = (draw() < 0.5, (draw() * 500.0).round());
        let chance = if hot { 0.25 } else { 0.1 } + employees / 1000.0;
        let rating = if hot { "Hot" } else { "Cold" };
        let converted = draw() < chance;
        let text = |text: String| Value::Text(text);
        [text(format!("00Q{i:012}AAA")), text(rating.into()), Value::Number(employees), Value::Null, Value::Boolean(converted)]
    };
    (0..3_000).map(row).collect()
}

pub static MODEL: LazyLock<Artifact> = LazyLock::new(|| {
    let mut frame = FrameBuilder::new(&schema(), "Id").unwrap();
    rows().iter().for_each(|row| frame.push(row).unwrap());
    let options = TrainingOptions { budget: Budget { tree_rows: 8_000_000 }, ..Default::default() };
    train(&frame.finish().unwrap(), &definition(), &options, None, &silent).unwrap().artifact
});

/// Registers the model under a new id, with another threshold to tell it from others, and puts it into production.
pub async fn promote(world: &World, tenant: &TenantId, threshold: f64) -> ModelId {
    let artifact = Artifact { threshold, ..MODEL.clone() };
    let operation = OperationId::random();
    let id = operation.model();
    let bytes = Bytes::from(artifact.to_bytes());
    let stored = world.lake.put_artifact(tenant, &id, 1, "model.json", bytes).await.unwrap();
    let mut tx = world.store.tenant(tenant).await.unwrap();
    let new = NewModel {
        id: id.clone(),
        operation,
        definition_name: "lead_conversion".into(),
        object: "Lead".into(),
        definition: serde_json::to_value(definition()).unwrap(),
        training: json!({}),
        dataset: None,
        consent_version: 1,
    };
    models::create_draft(&mut tx, &new).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Training).await.unwrap();
    let staged = StagedArtifact {
        schema_hash: artifact.schema_hash.clone(),
        artifact_key: stored.key,
        artifact_digest: stored.sha256,
        card: json!({}),
        gates: json!({"gates": [{"code": "enough_positives", "passed": true, "detail": "900"}]}),
        compared_with: models::active(&mut tx, "lead_conversion").await.unwrap().map(|model| model.id),
    };
    models::stage_artifact(&mut tx, &id, &staged).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Validated).await.unwrap();
    models::transition(&mut tx, &id, ModelState::Staged).await.unwrap();
    models::activate(&mut tx, &id).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// A tenant with one record in current state and a model in production.
pub async fn ready(world: &World) -> (TenantId, Caller, ModelId) {
    let (tenant, caller) = world.tenant("acme", Some(ConsentGrant::ALL)).await;
    let mut tx = world.store.tenant(&tenant).await.unwrap();
    let dataset = OperationId::random().dataset();
    let export = Snapshot { object: "Lead", dataset: &dataset, taken_at: DateTime::UNIX_EPOCH, fields: None };
    object_schemas::register(&mut tx, &schema(), &export).await.unwrap();
    let version = RecordVersion {
        record_id: RECORD.into(),
        modified_at: DateTime::UNIX_EPOCH,
        fields: json!({"Id": RECORD, "Rating": "Hot", "NumberOfEmployees": 450.0, "Description": null, "IsConverted": false}),
    };
    records::upsert_batch(&mut tx, &export, &[version]).await.unwrap();
    tx.commit().await.unwrap();
    let model = promote(world, &tenant, 0.5).await;
    (tenant, caller, model)
}
