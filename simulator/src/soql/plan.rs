//! A query bound to an org: which rows, in which order, and which columns of them.

use super::ast::{Query, Selected};
use super::children::Children;
use super::column::{Column, Parents};
use super::filter::{Filter, Scope};
use super::lexer::{located, malformed};
use crate::error::ApiError;
use crate::org::Org;
use crate::org::row::RowRef;
use crate::org::table::{Snapshot, Table, is_live};
use crate::schema::FieldKind;
use std::cmp::Ordering as Order;
use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

pub(crate) struct Plan {
    pub table: Arc<Table>,
    pub columns: Vec<Column>,
    pub children: Vec<Children>,
    filter: Option<Filter>,
    order: Vec<SortKey>,
    limit: Option<u64>,
    offset: u64,
    include_deleted: bool,
}

struct SortKey {
    column: Column,
    descending: bool,
    nulls_last: bool,
}

/// A value to sort by.
#[derive(PartialEq, PartialOrd)]
enum Sortable {
    Null,
    Number(f64),
    Text(String),
}

impl Plan {
    /// # Errors
    /// `INVALID_TYPE`, `INVALID_FIELD` or `MALFORMED_QUERY`, as the vendor answers.
    pub fn bind(org: &Org, soql: &str, query: &Query, include_deleted: bool) -> Result<Self, ApiError> {
        let table = org.table(&query.object).ok_or_else(|| unknown_object(soql, query))?.clone();
        Self::bind_to(org, soql, query, &table, include_deleted || query.all_rows)
    }

    pub(super) fn bind_to(org: &Org, soql: &str, query: &Query, table: &Arc<Table>, deleted: bool) -> Result<Self, ApiError> {
        let mut columns: Vec<Column> = Vec::new();
        let mut children = Vec::new();
        for item in &query.select {
            match item {
                Selected::Field(path) => columns.push(Column::bind(org, table, path, soql)?),
                Selected::Fields { scope, at } => columns.extend(all_fields(table, query, scope, *at, soql)?),
                Selected::Children { query, at } => children.push(Children::bind(org, table, query, *at, soql)?),
                // Bound by the aggregate that runs this plan.
                Selected::Aggregate { .. } => {}
            }
        }
        let scope = Scope { org, table, soql };
        let filter = query.condition.as_ref().map(|condition| Filter::bind(&scope, condition)).transpose()?;
        let mut order = Vec::new();
        for ordering in &query.order_by {
            let column = Column::bind(org, table, &ordering.field, soql)?;
            let descending = ordering.descending;
            order.push(SortKey { column, descending, nulls_last: ordering.nulls_last.unwrap_or(descending) });
        }
        let (limit, offset) = (query.limit, query.offset.unwrap_or(0));
        if offset > 2_000 {
            let message = "Maximum SOQL offset allowed is 2000";
            return Err(ApiError::bad_request("NUMBER_OUTSIDE_VALID_RANGE", message));
        }
        Ok(Self { table: table.clone(), columns, children, filter, order, limit, offset, include_deleted: deleted })
    }

    /// Calls `visit` with each row of the answer, in its order.
    pub fn rows(&self, mut visit: impl FnMut(u64, RowRef<'_>, &mut Parents) -> ControlFlow<()>) -> io::Result<()> {
        let snapshot = self.table.snapshot();
        if !self.order.is_empty() {
            return self.sorted(&snapshot, visit);
        }
        let mut parents = Parents::default();
        let (mut skip, mut left) = (self.offset, self.limit.unwrap_or(u64::MAX));
        if left == 0 {
            return Ok(());
        }
        self.matching(&snapshot, &mut parents, |row, content, parents| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            left -= 1;
            match visit(row, content, parents) {
                ControlFlow::Continue(()) if left > 0 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        })
    }

    /// Row numbers of the answer, for paging.
    pub fn row_numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        self.rows(|row, _, _| {
            numbers.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(numbers)
    }

    /// The values of the first column, for a semi-join.
    pub(super) fn first_column(&self) -> Result<HashSet<String>, ApiError> {
        let mut values = HashSet::new();
        let Some(column) = self.columns.first() else {
            return Err(ApiError::bad_request("MALFORMED_QUERY", "a semi-join sub-select needs one field"));
        };
        let scanned = self.rows(|_, row, parents| {
            column.with_text(row, parents, |text| {
                if !text.is_empty() {
                    values.insert(String::from_utf8_lossy(text).into_owned());
                }
            });
            ControlFlow::Continue(())
        });
        scanned.map_err(|error| ApiError::unexpected("reading records", &error))?;
        Ok(values)
    }

    fn matching(
        &self,
        snapshot: &Snapshot<'_>,
        parents: &mut Parents,
        mut visit: impl FnMut(u64, RowRef<'_>, &mut Parents) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut test = |row: u64, content: RowRef<'_>| {
            let shown = self.include_deleted || is_live(content);
            if shown && self.filter.as_ref().is_none_or(|filter| filter.matches(content, parents)) {
                visit(row, content, parents)
            } else {
                ControlFlow::Continue(())
            }
        };
        match self.filter.as_ref().and_then(Filter::named_rows) {
            None => snapshot.scan(test),
            Some(rows) => {
                for row in rows {
                    if let Some(content) = snapshot.get(row)?
                        && test(row, content.as_ref()).is_break()
                    {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn sorted(
        &self,
        snapshot: &Snapshot<'_>,
        mut visit: impl FnMut(u64, RowRef<'_>, &mut Parents) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut parents = Parents::default();
        let mut found: Vec<(Vec<Sortable>, u64)> = Vec::new();
        self.matching(snapshot, &mut parents, |row, content, parents| {
            found.push((self.order.iter().map(|key| key.value(content, parents)).collect(), row));
            ControlFlow::Continue(())
        })?;
        found.sort_by(|(a, a_row), (b, b_row)| {
            let keys = self.order.iter().zip(a.iter().zip(b)).map(|(key, (a, b))| key.compare(a, b));
            keys.fold(Order::Equal, Order::then).then(a_row.cmp(b_row))
        });
        let limit = usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        for (_, row) in found.into_iter().skip(self.offset as usize).take(limit) {
            if let Some(content) = snapshot.get(row)?
                && visit(row, content.as_ref(), &mut parents).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

impl SortKey {
    fn value(&self, row: RowRef<'_>, parents: &mut Parents) -> Sortable {
        let kind = &self.column.field.kind;
        self.column.with_text(row, parents, |text| {
            let text = std::str::from_utf8(text).unwrap_or_default();
            match kind {
                _ if text.is_empty() => Sortable::Null,
                kind if kind.is_number() => text.parse().map_or(Sortable::Null, Sortable::Number),
                FieldKind::Id | FieldKind::Reference { .. } => Sortable::Text(text.to_owned()),
                _ => Sortable::Text(text.to_lowercase()),
            }
        })
    }

    fn compare(&self, a: &Sortable, b: &Sortable) -> Order {
        match (a == &Sortable::Null, b == &Sortable::Null) {
            (true, true) => Order::Equal,
            (true, false) if self.nulls_last => Order::Greater,
            (true, false) => Order::Less,
            (false, true) if self.nulls_last => Order::Less,
            (false, true) => Order::Greater,
            (false, false) => {
                let order = a.partial_cmp(b).unwrap_or(Order::Equal);
                if self.descending { order.reverse() } else { order }
            }
        }
    }
}

fn all_fields(table: &Arc<Table>, query: &Query, scope: &str, at: usize, soql: &str) -> Result<Vec<Column>, ApiError> {
    let wanted: fn(bool) -> bool = match scope {
        "ALL" => |_| true,
        "STANDARD" => |custom| !custom,
        "CUSTOM" => |custom| custom,
        _ => return Err(malformed(soql, at, &format!("unexpected token: '{scope}'"))),
    };
    if scope != "STANDARD" && query.limit.is_none_or(|limit| limit > 200) {
        let reason = "The SOQL FIELDS function must have a LIMIT of at most 200";
        return Err(malformed(soql, at, reason));
    }
    Ok(table.def.fields.iter().filter(|field| wanted(field.custom)).map(|field| Column::own(table, field)).collect())
}

fn unknown_object(soql: &str, query: &Query) -> ApiError {
    let reason = format!(
        "sObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity \
         name. Please reference your WSDL or the describe call for the appropriate names.",
        query.object
    );
    ApiError::bad_request("INVALID_TYPE", located(soql, query.object_at, &reason))
}
