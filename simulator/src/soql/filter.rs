//! Conditions bound to columns and typed values, tested row by row on stored text.

use super::ast::{Condition, Literal, Operator};
use super::column::{Column, Parents};
use super::lexer::located;
use super::plan::Plan;
use crate::error::ApiError;
use crate::ids::RecordId;
use crate::org::Org;
use crate::org::cells::instant_text;
use crate::org::row::RowRef;
use crate::org::table::Table;
use crate::schema::FieldKind;
use std::cmp::Ordering as Order;
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Test { column: Box<Column>, test: Test },
}

/// A test of one stored text. Dates and instants compare as text: their stored form keeps time order.
pub(crate) enum Test {
    Null(bool),
    Boolean(bool),
    Number(Operator, f64),
    /// Lower case, as SOQL compares text without case.
    Text(Operator, String),
    /// Case-sensitive: ids, dates, instants.
    Exact(Operator, String),
    /// From the first to before the second.
    Span(Operator, String, String),
    Like(Vec<Wild>),
    OneOf(HashSet<String>, bool),
}

#[derive(PartialEq)]
pub(crate) enum Wild {
    Any,
    One,
    Exactly(char),
}

/// What binding a condition needs to know.
pub(crate) struct Scope<'a> {
    pub org: &'a Org,
    pub table: &'a Arc<Table>,
    pub soql: &'a str,
}

impl Filter {
    pub fn bind(scope: &Scope<'_>, condition: &Condition) -> Result<Self, ApiError> {
        let all = |conditions: &[Condition]| conditions.iter().map(|c| Self::bind(scope, c)).collect::<Result<Vec<_>, _>>();
        Ok(match condition {
            Condition::And(conditions) => Self::And(all(conditions)?),
            Condition::Or(conditions) => Self::Or(all(conditions)?),
            Condition::Not(condition) => Self::Not(Box::new(Self::bind(scope, condition)?)),
            Condition::Compare { field, operator, value } => {
                let column = filterable(scope, field)?;
                let test = compare(&column, *operator, value).ok_or_else(|| wrong_type(scope, field.at, &column))?;
                Self::Test { column, test }
            }
            Condition::Like { field, pattern } => {
                let column = filterable(scope, field)?;
                Self::Test { column, test: Test::Like(wildcards(pattern)) }
            }
            Condition::In { field, values, negated } => {
                let column = filterable(scope, field)?;
                let keys = values.iter().map(|value| in_key(&column, value).ok_or_else(|| wrong_type(scope, field.at, &column)));
                let keys = keys.collect::<Result<HashSet<_>, _>>()?;
                Self::Test { column, test: Test::OneOf(keys, *negated) }
            }
            Condition::InQuery { field, query, negated } => {
                let column = filterable(scope, field)?;
                let plan = Plan::bind(scope.org, scope.soql, query, false)?;
                Self::Test { column, test: Test::OneOf(plan.first_column()?, *negated) }
            }
        })
    }

    pub fn matches(&self, row: RowRef<'_>, parents: &mut Parents) -> bool {
        match self {
            Self::And(filters) => filters.iter().all(|filter| filter.matches(row, parents)),
            Self::Or(filters) => filters.iter().any(|filter| filter.matches(row, parents)),
            Self::Not(filter) => !filter.matches(row, parents),
            Self::Test { column, test } => {
                let kind = &column.field.kind;
                column.with_text(row, parents, |text| test.holds(kind, std::str::from_utf8(text).unwrap_or_default()))
            }
        }
    }

    /// The only rows that can match, when the condition names ids; so a look-up does not scan.
    pub fn named_rows(&self) -> Option<Vec<u64>> {
        match self {
            Self::And(filters) => filters.iter().find_map(Self::named_rows),
            Self::Test { column, test } if column.hops.is_empty() && column.field.kind == FieldKind::Id => {
                let row = |id: &str| RecordId::parse(id).and_then(|id| id.row());
                let mut rows: Vec<u64> = match test {
                    Test::Exact(Operator::Equal, id) => row(id).into_iter().collect(),
                    Test::OneOf(ids, false) => ids.iter().filter_map(|id| row(id)).collect(),
                    _ => return None,
                };
                rows.sort_unstable();
                Some(rows)
            }
            _ => None,
        }
    }
}

impl Test {
    fn holds(&self, kind: &FieldKind, text: &str) -> bool {
        match self {
            Self::Null(wanted) => text.is_empty() == *wanted,
            Self::Boolean(wanted) => (text == "true") == *wanted,
            Self::Number(operator, wanted) => match text.parse::<f64>() {
                Ok(number) => ordered(*operator, number.partial_cmp(wanted)),
                Err(_) => *operator == Operator::NotEqual,
            },
            Self::Text(operator, wanted) => ordered_text(*operator, &text.to_lowercase(), wanted),
            Self::Exact(operator, wanted) => ordered_text(*operator, text, wanted),
            Self::Span(operator, from, until) => in_span(*operator, text, from, until),
            Self::Like(pattern) => like(pattern, &text.to_lowercase().chars().collect::<Vec<_>>()),
            Self::OneOf(keys, negated) => keys.contains(text_key(kind, text).as_str()) != *negated,
        }
    }
}

fn ordered(operator: Operator, order: Option<Order>) -> bool {
    let Some(order) = order else { return operator == Operator::NotEqual };
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
    }
}

/// A null is unequal to everything and neither smaller nor greater.
fn ordered_text(operator: Operator, text: &str, wanted: &str) -> bool {
    if text.is_empty() { operator == Operator::NotEqual } else { ordered(operator, Some(text.cmp(wanted))) }
}

fn in_span(operator: Operator, text: &str, from: &str, until: &str) -> bool {
    if text.is_empty() {
        return operator == Operator::NotEqual;
    }
    match operator {
        Operator::Equal => text >= from && text < until,
        Operator::NotEqual => text < from || text >= until,
        Operator::Less => text < from,
        Operator::LessOrEqual => text < until,
        Operator::Greater => text >= until,
        Operator::GreaterOrEqual => text >= from,
    }
}

fn compare(column: &Column, operator: Operator, value: &Literal) -> Option<Test> {
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    let kind = &column.field.kind;
    Some(match (kind, value) {
        (FieldKind::Boolean, Literal::Boolean(flag)) if equality => Test::Boolean(*flag == (operator == Operator::Equal)),
        (FieldKind::Boolean, _) => return None,
        (_, Literal::Null) if equality => Test::Null(operator == Operator::Equal),
        (kind, Literal::Number(number)) if kind.is_number() => Test::Number(operator, *number),
        (FieldKind::Date, Literal::Date(day)) => Test::Exact(operator, day.to_string()),
        (FieldKind::Date, Literal::Days { from, until }) => Test::Span(operator, from.to_string(), until.to_string()),
        (FieldKind::DateTime, Literal::Instant(instant)) => Test::Exact(operator, instant_text(*instant)),
        (FieldKind::DateTime, Literal::Days { from, until }) => {
            Test::Span(operator, format!("{from}T00:00:00.000Z"), format!("{until}T00:00:00.000Z"))
        }
        (FieldKind::Id | FieldKind::Reference { .. }, Literal::Text(text)) => {
            // An id of another org or of no known form is no error, and equals nothing.
            let id = RecordId::parse(text).map_or_else(|| text.clone(), |id| id.to_string());
            if id.is_empty() { Test::Null(operator == Operator::Equal) } else { Test::Exact(operator, id) }
        }
        (kind, Literal::Text(text)) if is_textual(kind) => {
            if text.is_empty() && equality {
                Test::Null(operator == Operator::Equal)
            } else {
                Test::Text(operator, text.to_lowercase())
            }
        }
        _ => return None,
    })
}

fn is_textual(kind: &FieldKind) -> bool {
    use FieldKind::{Email, Phone, Picklist, String, TextArea, Url};
    matches!(kind, String { .. } | TextArea { .. } | Picklist { .. } | Email | Phone | Url)
}

/// The form in which a value of a list and a stored text are compared.
fn text_key(kind: &FieldKind, text: &str) -> String {
    match kind {
        kind if is_textual(kind) => text.to_lowercase(),
        kind if kind.is_number() => text.parse::<f64>().map_or_else(|_| String::new(), |number| number.to_string()),
        FieldKind::Boolean if text.is_empty() => "false".into(),
        _ => text.to_owned(),
    }
}

fn in_key(column: &Column, value: &Literal) -> Option<String> {
    let kind = &column.field.kind;
    match (kind, value) {
        (_, Literal::Null) => Some(String::new()),
        (FieldKind::Boolean, Literal::Boolean(flag)) => Some(flag.to_string()),
        (kind, Literal::Number(number)) if kind.is_number() => Some(number.to_string()),
        (FieldKind::Date, Literal::Date(day)) => Some(day.to_string()),
        (FieldKind::DateTime, Literal::Instant(instant)) => Some(instant_text(*instant)),
        (FieldKind::Id | FieldKind::Reference { .. }, Literal::Text(text)) => {
            Some(RecordId::parse(text).map_or_else(|| text.clone(), |id| id.to_string()))
        }
        (kind, Literal::Text(text)) if is_textual(kind) => Some(text.to_lowercase()),
        _ => None,
    }
}

fn wildcards(pattern: &str) -> Vec<Wild> {
    let mut wild = Vec::new();
    let lower = pattern.to_lowercase();
    let mut characters = lower.chars();
    while let Some(character) = characters.next() {
        wild.push(match character {
            '%' => Wild::Any,
            '_' => Wild::One,
            '\\' => match characters.next() {
                Some(escaped) => Wild::Exactly(escaped),
                None => Wild::Exactly('\\'),
            },
            character => Wild::Exactly(character),
        });
    }
    wild
}

/// Linear in text times pattern: after a mismatch only the last `%` is tried again.
fn like(pattern: &[Wild], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Wild::Any) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(Wild::One) => (p, t) = (p + 1, t + 1),
            Some(Wild::Exactly(character)) if *character == text[t] => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((after, from)) => {
                    (p, t) = (after, from + 1);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|wild| *wild == Wild::Any)
}

fn filterable(scope: &Scope<'_>, path: &super::ast::Path) -> Result<Box<Column>, ApiError> {
    let column = Column::bind(scope.org, scope.table, path, scope.soql)?;
    let name = column.header();
    let unfilterable = match column.field.kind {
        FieldKind::TextArea { length } => length > 255,
        FieldKind::Address => true,
        _ => false,
    };
    if unfilterable {
        let reason = format!("field '{name}' can not be filtered in a query call");
        return Err(ApiError::bad_request("INVALID_FIELD", located(scope.soql, path.at, &reason)));
    }
    Ok(Box::new(column))
}

fn wrong_type(scope: &Scope<'_>, at: usize, column: &Column) -> ApiError {
    let (wanted, quoted) = match &column.field.kind {
        FieldKind::Boolean => ("boolean", false),
        FieldKind::Int => ("int", false),
        FieldKind::Date => ("date", false),
        FieldKind::DateTime => ("dateTime", false),
        kind if kind.is_number() => ("double", false),
        FieldKind::Id | FieldKind::Reference { .. } => ("id", true),
        _ => ("string", true),
    };
    let advice = if quoted { "should be enclosed in quotes" } else { "should not be enclosed in quotes" };
    let reason = format!("value of filter criterion for field '{}' must be of type {wanted} and {advice}", column.header());
    ApiError::bad_request("INVALID_FIELD", located(scope.soql, at, &reason))
}
