//! Reading columns as the types of the domain.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::{Row as _, postgres::PgRow, types::Json};

/// A text column that reads back as an id, a state or a code.
pub(crate) fn parsed<T: FromStr>(row: &PgRow, column: &str) -> sqlx::Result<T> {
    parse(row.try_get(column)?, column)
}

pub(crate) fn parsed_opt<T: FromStr>(row: &PgRow, column: &str) -> sqlx::Result<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?.map(|text| parse(text, column)).transpose()
}

fn parse<T: FromStr>(text: &str, column: &str) -> sqlx::Result<T> {
    text.parse().map_err(|_| sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not of its type".into() })
}

pub(crate) fn json<T: DeserializeOwned>(row: &PgRow, column: &str) -> sqlx::Result<T> {
    Ok(row.try_get::<Json<T>, _>(column)?.0)
}

pub(crate) fn json_opt<T: DeserializeOwned>(row: &PgRow, column: &str) -> sqlx::Result<Option<T>> {
    Ok(row.try_get::<Option<Json<T>>, _>(column)?.map(|json| json.0))
}
