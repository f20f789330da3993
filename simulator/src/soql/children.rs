//! Child subqueries: `SELECT Id, (SELECT Id FROM Contacts) FROM Account`.

use super::ast::{Path, Query};
use super::column::Column;
use super::lexer::located;
use super::plan::Plan;
use crate::error::ApiError;
use crate::org::Org;
use crate::org::table::Table;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

pub(crate) struct Children {
    /// The name under which the parent record shows them, as written in the query.
    pub relationship: String,
    pub plan: Plan,
    reference: Column,
    limit: Option<u64>,
}

impl Children {
    pub fn bind(org: &Org, parent: &Arc<Table>, query: &Query, at: usize, soql: &str) -> Result<Self, ApiError> {
        let known = org.children_of(&parent.def.name);
        let Some((object, field, relationship)) = known.into_iter().find(|(_, _, name)| name.eq_ignore_ascii_case(&query.object))
        else {
            let reason = format!("Didn't understand relationship '{}' in FROM part of query call.", query.object);
            return Err(ApiError::bad_request("INVALID_TYPE", located(soql, at, &reason)));
        };
        let table = org.table(&object).expect("children are objects of the org").clone();
        // A limit holds for each parent, so it is applied after the rows are given to their parents.
        let unlimited = Query { limit: None, ..query.clone() };
        let plan = Plan::bind_to(org, soql, &unlimited, &table, false)?;
        let reference = Column::bind(org, &table, &Path { steps: vec![field], at }, soql)?;
        Ok(Self { relationship, plan, reference, limit: query.limit })
    }

    /// Row numbers of the children of each of these parents, by parent id.
    pub fn rows_of(&self, parents: &HashSet<String>) -> io::Result<HashMap<String, Vec<u64>>> {
        let limit = self.limit.unwrap_or(u64::MAX);
        let mut found: HashMap<String, Vec<u64>> = HashMap::new();
        self.plan.rows(|row, content, known| {
            let parent = self.reference.with_text(content, known, |text| String::from_utf8_lossy(text).into_owned());
            if parents.contains(&parent) {
                let children = found.entry(parent).or_default();
                if (children.len() as u64) < limit {
                    children.push(row);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}
