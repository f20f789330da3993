//! `COUNT`, `SUM`, `AVG`, `MIN`, `MAX` and `COUNT_DISTINCT`, over all rows or by group.

use super::ast::{Function, Path, Query, Selected};
use super::column::{Column, Parents};
use super::lexer::malformed;
use super::plan::Plan;
use crate::error::ApiError;
use crate::org::Org;
use crate::org::cells;
use crate::org::row::RowRef;
use crate::schema::FieldKind;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

enum Output {
    /// Position in the group key, and the kind that its text is shown as.
    Group(usize, FieldKind),
    Aggregate {
        function: Function,
        column: Option<Column>,
    },
}

#[derive(Default)]
struct Accumulator {
    count: u64,
    sum: f64,
    distinct: HashSet<String>,
    min: Option<String>,
    max: Option<String>,
}

/// Counts the rows of `SELECT COUNT() FROM ...`.
pub(crate) fn count(plan: &Plan) -> std::io::Result<u64> {
    let mut total = 0;
    plan.rows(|_, _, _| {
        total += 1;
        ControlFlow::Continue(())
    })?;
    Ok(total)
}

/// The `AggregateResult` records of a query with aggregates or groups.
pub(crate) fn records(org: &Org, soql: &str, query: &Query, include_deleted: bool) -> Result<Vec<Json>, ApiError> {
    // Order and limit of an aggregate query are over its groups; the rows below are not limited.
    let ungrouped = Query { order_by: Vec::new(), limit: None, offset: None, ..query.clone() };
    let plan = Plan::bind(org, soql, &ungrouped, include_deleted)?;
    let keys: Vec<Column> =
        query.group_by.iter().map(|path| Column::bind(org, &plan.table, path, soql)).collect::<Result<_, _>>()?;
    let outputs = outputs(org, soql, query, &plan, &keys)?;
    let mut groups: BTreeMap<Vec<String>, Vec<Accumulator>> = BTreeMap::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), accumulators(outputs.len()));
    }
    let scanned = plan.rows(|_, row, parents| {
        let key: Vec<String> = keys.iter().map(|column| text_of(column, row, parents)).collect();
        let group = groups.entry(key).or_insert_with(|| accumulators(outputs.len()));
        for ((_, output), accumulator) in outputs.iter().zip(group) {
            if let Output::Aggregate { function, column } = output {
                accumulator.add(*function, column.as_ref(), row, parents);
            }
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| ApiError::unexpected("reading records", &error))?;
    let (skip, limit) = (query.offset.unwrap_or(0) as usize, query.limit.unwrap_or(u64::MAX) as usize);
    Ok(groups.iter().skip(skip).take(limit).map(|(key, group)| record(&outputs, key, group)).collect())
}

fn accumulators(count: usize) -> Vec<Accumulator> {
    std::iter::repeat_with(Accumulator::default).take(count).collect()
}

fn text_of(column: &Column, row: RowRef<'_>, parents: &mut Parents) -> String {
    column.with_text(row, parents, |text| String::from_utf8_lossy(text).into_owned())
}

fn outputs(org: &Org, soql: &str, query: &Query, plan: &Plan, keys: &[Column]) -> Result<Vec<(String, Output)>, ApiError> {
    let mut outputs = Vec::new();
    let mut unnamed = 0;
    for item in &query.select {
        match item {
            Selected::Field(path) => outputs.push(group_output(org, soql, plan, keys, path)?),
            Selected::Aggregate { function, argument, alias } => {
                let column = argument.as_ref().map(|path| Column::bind(org, &plan.table, path, soql)).transpose()?;
                let name = alias.clone().unwrap_or_else(|| {
                    unnamed += 1;
                    format!("expr{}", unnamed - 1)
                });
                outputs.push((name, Output::Aggregate { function: *function, column }));
            }
            Selected::Fields { at, .. } | Selected::Children { at, .. } => {
                return Err(malformed(soql, *at, "a grouped query selects fields of its groups and aggregates only"));
            }
        }
    }
    Ok(outputs)
}

fn group_output(org: &Org, soql: &str, plan: &Plan, keys: &[Column], path: &Path) -> Result<(String, Output), ApiError> {
    let column = Column::bind(org, &plan.table, path, soql)?;
    let header = column.header();
    let Some(position) = keys.iter().position(|key| key.header() == header) else {
        return Err(malformed(soql, path.at, &format!("Field must be grouped or aggregated: {header}")));
    };
    Ok((column.field.name.clone(), Output::Group(position, column.field.kind.clone())))
}

fn record(outputs: &[(String, Output)], key: &[String], group: &[Accumulator]) -> Json {
    let mut fields = Map::new();
    fields.insert("attributes".into(), json!({ "type": "AggregateResult" }));
    for ((name, output), accumulator) in outputs.iter().zip(group) {
        let value = match output {
            Output::Group(position, kind) => cells::to_json(kind, &key[*position]),
            Output::Aggregate { function, column } => accumulator.result(*function, column.as_ref()),
        };
        fields.insert(name.clone(), value);
    }
    Json::Object(fields)
}

impl Accumulator {
    fn add(&mut self, function: Function, column: Option<&Column>, row: RowRef<'_>, parents: &mut Parents) {
        let Some(column) = column else {
            self.count += 1;
            return;
        };
        let text = text_of(column, row, parents);
        if text.is_empty() {
            return;
        }
        self.count += 1;
        let number = text.parse::<f64>().ok().filter(|_| column.field.kind.is_number());
        self.sum += number.unwrap_or(0.0);
        let smaller = |a: &str, b: &str| match (number, b.parse::<f64>()) {
            (Some(a), Ok(b)) => a < b,
            _ => a < b,
        };
        let replace_min = self.min.as_ref().is_none_or(|min| smaller(&text, min));
        let replace_max = self.max.as_ref().is_none_or(|max| !smaller(&text, max));
        if replace_min {
            self.min = Some(text.clone());
        }
        if replace_max {
            self.max = Some(text.clone());
        }
        if function == Function::CountDistinct {
            self.distinct.insert(text);
        }
    }

    fn result(&self, function: Function, column: Option<&Column>) -> Json {
        let shown = |text: &Option<String>| match (text, column) {
            (Some(text), Some(column)) => cells::to_json(&column.field.kind, text),
            _ => Json::Null,
        };
        match function {
            Function::Count => json!(self.count),
            Function::CountDistinct => json!(self.distinct.len()),
            Function::Sum if self.count == 0 => Json::Null,
            Function::Sum => json!(self.sum),
            Function::Avg if self.count == 0 => Json::Null,
            Function::Avg => json!(self.sum / self.count as f64),
            Function::Min => shown(&self.min),
            Function::Max => shown(&self.max),
        }
    }
}
