//! SOQL: text -> [`ast::Query`] -> [`plan::Plan`] -> rows.
//!
//! Answered: fields with parent paths, `FIELDS()`, `COUNT()` and the aggregates with `GROUP BY`, child subqueries, `WHERE` with
//! every operator but `INCLUDES`, named spans of days, semi-joins, `ORDER BY`, `LIMIT`, `OFFSET`. Refused as malformed: `TYPEOF`,
//! `HAVING`, date functions.

pub(crate) mod aggregate;
pub(crate) mod ast;
pub(crate) mod children;
pub(crate) mod column;
pub(crate) mod filter;
mod lexer;
mod literal;
pub(crate) mod parser;
pub(crate) mod plan;

#[cfg(test)]
mod tests;
