//! Learning on real data, within a smaller budget than the bench.

use leadline_benches::tables;
use leadline_learning::{Budget, PredictionDefinition, TrainingOptions, silent, train};

#[test]
fn telco_churn_is_learnt_at_least_as_well_as_by_logistic_regression() {
    let frame = tables::telco_churn().unwrap();
    let mut definition = PredictionDefinition::new("telco", "Account", "Churn", &["Yes"]);
    definition.id_field = "customerID".to_owned();
    let options = TrainingOptions { budget: Budget { tree_rows: 60_000_000 }, ..TrainingOptions::default() };
    let found = train(&frame, &definition, &options, None, &silent).unwrap();
    let card = &found.card;
    assert_eq!((card.counts.holdout, card.counts.holdout_positives), (1_376, 341), "the documented fold 0");
    assert!(card.evaluation.auc.value >= 0.8372, "{:?}", card.evaluation.auc);
    assert!(card.gates.passed(), "{:?}", card.gates);
    assert!(card.leaks.is_empty(), "{:?}", card.leaks);
}
