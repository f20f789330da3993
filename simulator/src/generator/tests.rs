use crate::ids::RecordId;
use crate::org::Org;
use crate::org::table::Table;
use crate::schema::{FieldDef, FieldKind};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

fn org(seed: u64, records: u64) -> (tempfile::TempDir, Org) {
    let folder = tempfile::tempdir().unwrap();
    let org = Org::open(folder.path(), seed, records, &[]).unwrap();
    (folder, org)
}

fn column(table: &Table, field: &FieldDef) -> Vec<String> {
    let cell = field.cell().unwrap();
    let mut values = Vec::new();
    let read = |_, row: crate::org::row::RowRef<'_>| {
        values.push(row.text(cell).to_owned());
        ControlFlow::Continue(())
    };
    table.snapshot().scan(read).unwrap();
    values
}

fn named(table: &Table, field: &str) -> Vec<String> {
    column(table, table.def.field(field).unwrap())
}

/// Naive Bayes over binned values, counted on even rows: crude, so what it reaches is surely there to be learned.
struct Bayes {
    scores: Vec<f64>,
}

impl Bayes {
    fn over(columns: &[Vec<String>], labels: &[bool]) -> Self {
        let mut scores = vec![0.0; labels.len()];
        for values in columns {
            let mut counts: HashMap<String, [f64; 2]> = HashMap::new();
            for (value, label) in values.iter().zip(labels).step_by(2) {
                counts.entry(bin(value)).or_insert([0.0; 2])[usize::from(*label)] += 1.0;
            }
            let rate = labels.iter().filter(|label| **label).count() as f64 / labels.len() as f64;
            for (value, score) in values.iter().zip(&mut scores) {
                let [no, yes] = counts.get(&bin(value)).copied().unwrap_or_default();
                *score += ((yes + 8.0 * rate) / (no + 8.0 * (1.0 - rate))).ln();
            }
        }
        Self { scores }
    }

    /// Area under the ROC curve on odd rows.
    fn auc(&self, labels: &[bool]) -> f64 {
        let mut held: Vec<(f64, bool)> = self.scores.iter().copied().zip(labels.iter().copied()).skip(1).step_by(2).collect();
        held.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut rank_sum, mut positives) = (0.0, 0.0);
        for (rank, (_, label)) in held.iter().enumerate() {
            if *label {
                rank_sum += rank as f64 + 1.0;
                positives += 1.0;
            }
        }
        (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * (held.len() as f64 - positives))
    }
}

/// Numbers by the power of 1.6, categories as they are, ids and free text by their first word.
fn bin(value: &str) -> String {
    match value.parse::<f64>() {
        Ok(number) => format!("{}{}", number.signum(), ((number.abs() + 1.0).ln() / 0.47).floor()),
        Err(_) => value.split(' ').next().unwrap_or_default().to_owned(),
    }
}

fn auc_without(table: &Table, label: &str, excluded: &[&str], only: impl Fn(usize) -> bool) -> f64 {
    let keep =
        |values: Vec<String>| values.into_iter().enumerate().filter(|(row, _)| only(*row)).map(|(_, v)| v).collect::<Vec<_>>();
    let labels: Vec<bool> = keep(named(table, label)).iter().map(|value| value == "true").collect();
    let usable = |field: &&FieldDef| {
        let kind = matches!(field.kind, FieldKind::Picklist { .. } | FieldKind::Boolean) || field.kind.is_number();
        field.cell().is_some()
            && (kind || field.name == "Title")
            && field.name != label
            && !excluded.contains(&field.name.as_str())
    };
    let columns: Vec<Vec<String>> = table.def.fields.iter().filter(usable).map(|field| keep(column(table, field))).collect();
    Bayes::over(&columns, &labels).auc(&labels)
}

#[test]
fn the_same_seed_gives_the_same_org_and_another_seed_another_one() {
    let (_a, first) = org(7, 2_000);
    let (_b, second) = org(7, 2_000);
    let (_c, other) = org(8, 2_000);
    for table in first.tables() {
        let same = second.table(&table.def.name).unwrap();
        for field in table.def.fields.iter().filter(|field| field.cell().is_some()) {
            assert_eq!(column(table, field), column(same, field), "{}.{}", table.def.name, field.name);
        }
    }
    let names = |org: &Org| named(org.table("Account").unwrap(), "Name");
    assert_ne!(names(&first), names(&other));
    let total: u64 = first.tables().map(|table| table.live_count()).sum();
    assert_eq!(total, 2_000);
}

#[test]
fn every_outcome_can_be_learned_but_not_perfectly_and_the_leaks_give_it_away() {
    let (_folder, org) = org(20_250_630, 50_000);
    let lead = org.table("Lead").unwrap();
    let leaks = ["Conversion_Score__c", "Status"];
    let honest = auc_without(lead, "IsConverted", &leaks, |_| true);
    let leaking = auc_without(lead, "IsConverted", &["Status"], |_| true);
    assert!((0.74..0.86).contains(&honest), "lead conversion without leaks: {honest:.3}");
    assert!(leaking > 0.95, "lead conversion with the planted leak: {leaking:.3}");

    let account = auc_without(org.table("Account").unwrap(), "Churned__c", &[], |_| true);
    assert!((0.74..0.88).contains(&account), "account churn: {account:.3}");
    let opportunity = org.table("Opportunity").unwrap();
    let closed: Vec<bool> = named(opportunity, "IsClosed").iter().map(|closed| closed == "true").collect();
    let natural = ["StageName", "Probability", "ExpectedRevenue", "ForecastCategoryName", "IsClosed"];
    let won = auc_without(opportunity, "IsWon", &natural, |row| closed[row]);
    assert!((0.70..0.86).contains(&won), "opportunity win: {won:.3}");

    let share = |table: &Table, field: &str| {
        let values = named(table, field);
        values.iter().filter(|value| *value == "true").count() as f64 / values.len() as f64
    };
    let shares = [share(lead, "IsConverted"), share(org.table("Account").unwrap(), "Churned__c"), share(opportunity, "IsWon")];
    assert!(shares.iter().all(|share| (0.1..0.45).contains(share)), "{shares:?}");
}

#[test]
fn references_lead_to_records_values_are_missing_and_amounts_are_the_sums_of_their_lines() {
    let (_folder, org) = org(3, 6_000);
    for table in org.tables() {
        for field in &table.def.fields {
            let FieldKind::Reference { to, .. } = &field.kind else { continue };
            for id in column(table, field).iter().filter(|id| !id.is_empty()) {
                let id = RecordId::parse(id).unwrap();
                let target = org.table_of(&id).unwrap();
                assert!(to.contains(&target.def.name), "{}.{}", table.def.name, field.name);
                assert!(target.snapshot().get(id.row().unwrap()).unwrap().is_some(), "{}.{}", table.def.name, field.name);
            }
        }
    }
    let lead = org.table("Lead").unwrap();
    let missing = |field: &str| named(lead, field).iter().filter(|value| value.is_empty()).count() as f64 / 2_400.0;
    assert!(missing("AnnualRevenue") > 0.2 && missing("Phone") > 0.2 && missing("Campaign__c") > 0.05);
    let campaigns: HashSet<String> = named(lead, "Campaign__c").into_iter().collect();
    assert!(campaigns.len() > 100, "{}", campaigns.len());

    let mut sums: HashMap<String, f64> = HashMap::new();
    let lines = org.table("OpportunityLineItem").unwrap();
    for (opportunity, total) in named(lines, "OpportunityId").into_iter().zip(named(lines, "TotalPrice")) {
        *sums.entry(opportunity).or_default() += total.parse::<f64>().unwrap();
    }
    let opportunity = org.table("Opportunity").unwrap();
    for (id, amount) in named(opportunity, "Id").iter().zip(named(opportunity, "Amount")) {
        let amount = amount.parse::<f64>().unwrap_or(0.0);
        assert!((sums.get(id).copied().unwrap_or(0.0) - amount).abs() < 0.01, "{id}");
    }
}
