//! Canonical values as Arrow columns and back, exactly.
//!
//! | field type               | Arrow type                  |
//! |--------------------------|-----------------------------|
//! | Text, Picklist, Reference| Utf8                        |
//! | Boolean                  | Boolean                     |
//! | Number                   | Float64                     |
//! | Date                     | Date32                      |
//! | DateTime                 | Timestamp(millisecond, UTC) |
//!
//! Every column is nullable, whatever the schema says: a describe promises what new records must have, not what old ones do.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanBuilder, Date32Builder, Float64Builder, RecordBatch, StringBuilder,
        TimestampMillisecondBuilder,
    },
    datatypes::{DataType, Date32Type, Field as ArrowField, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType},
};
use chrono::{DateTime, NaiveDate, TimeDelta};
use leadline_domain::value::{Field, FieldType, ObjectSchema, Value};

use crate::LakeError;

const UTC: &str = "UTC";
const UNIX_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => unreachable!(),
};

fn arrow_type(field_type: FieldType) -> DataType {
    match field_type {
        FieldType::Text | FieldType::Picklist | FieldType::Reference => DataType::Utf8,
        FieldType::Boolean => DataType::Boolean,
        FieldType::Number => DataType::Float64,
        FieldType::Date => DataType::Date32,
        FieldType::DateTime => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
    }
}

/// The Arrow schema of an object, in its column order.
pub fn arrow_schema(schema: &ObjectSchema) -> SchemaRef {
    let column = |field: &Field| ArrowField::new(&field.name, arrow_type(field.field_type), true);
    Arc::new(Schema::new(schema.fields.iter().map(column).collect::<Vec<_>>()))
}

/// Days since 1970-01-01.
pub(crate) fn day_number(date: NaiveDate) -> i32 {
    i32::try_from((date - UNIX_DAY).num_days()).expect("chrono's calendar spans fewer than 2^31 days")
}

/// Columns out of rows.
///
/// # Errors
/// [`LakeError::SchemaMismatch`] when a row has another width or a value another type than the schema says.
pub fn to_batch(schema: &ObjectSchema, arrow: &SchemaRef, rows: &[Vec<Value>]) -> Result<RecordBatch, LakeError> {
    let mismatch = |reason: String| LakeError::SchemaMismatch { object: schema.object.clone(), reason };
    if let Some(row) = rows.iter().find(|row| row.len() != schema.fields.len()) {
        return Err(mismatch(format!("{} values for {} fields", row.len(), schema.fields.len())));
    }
    let columns: Result<Vec<ArrayRef>, LakeError> = schema
        .fields
        .iter()
        .enumerate()
        .map(|(at, field)| {
            let column = build_column(field.field_type, rows, at);
            column.ok_or_else(|| mismatch(format!("a value of {} is not of type {:?}", field.name, field.field_type)))
        })
        .collect();
    RecordBatch::try_new(Arc::clone(arrow), columns?).map_err(|error| mismatch(error.to_string()))
}

/// `None` when a value is of another type.
fn build_column(field_type: FieldType, rows: &[Vec<Value>], at: usize) -> Option<ArrayRef> {
    macro_rules! column {
        ($builder:expr, $value:pat $(if $guard:expr)? => $native:expr) => {{
            let mut builder = $builder;
            for row in rows {
                match &row[at] {
                    Value::Null => builder.append_null(),
                    $value $(if $guard)? => builder.append_value($native),
                    _ => return None,
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    Some(match field_type {
        FieldType::Text | FieldType::Picklist | FieldType::Reference => {
            let bytes = rows.iter().map(|row| if let Value::Text(text) = &row[at] { text.len() } else { 0 }).sum();
            column!(StringBuilder::with_capacity(rows.len(), bytes), Value::Text(text) => text)
        }
        FieldType::Boolean => column!(BooleanBuilder::with_capacity(rows.len()), Value::Boolean(b) => *b),
        FieldType::Number => column!(Float64Builder::with_capacity(rows.len()), Value::Number(n) if n.is_finite() => *n),
        FieldType::Date => column!(Date32Builder::with_capacity(rows.len()), Value::Date(date) => day_number(*date)),
        FieldType::DateTime => column!(
            TimestampMillisecondBuilder::with_capacity(rows.len()).with_timezone(UTC),
            Value::DateTime(instant) => instant.timestamp_millis()
        ),
    })
}

/// Rows out of columns.
///
/// # Errors
/// [`LakeError::Corrupt`] when the columns are not those of the schema, or hold what no [`Value`] can.
pub fn to_rows(schema: &ObjectSchema, batch: &RecordBatch) -> Result<Vec<Vec<Value>>, LakeError> {
    let width = schema.fields.len();
    let corrupt = |reason: String| LakeError::Corrupt { what: format!("a part of {}", schema.object), reason };
    if batch.num_columns() != width {
        return Err(corrupt(format!("{} columns for {width} fields", batch.num_columns())));
    }
    let mut rows: Vec<Vec<Value>> = (0..batch.num_rows()).map(|_| Vec::with_capacity(width)).collect();
    for (field, column) in schema.fields.iter().zip(batch.columns()) {
        if *column.data_type() != arrow_type(field.field_type) {
            return Err(corrupt(format!("the column {} is of type {}", field.name, column.data_type())));
        }
        read_column(field.field_type, column, &mut rows)
            .ok_or_else(|| corrupt(format!("the column {} holds a value out of range", field.name)))?;
    }
    Ok(rows)
}

fn read_column(field_type: FieldType, column: &ArrayRef, rows: &mut [Vec<Value>]) -> Option<()> {
    macro_rules! read {
        ($array:expr, $value:expr) => {{
            let array = $array;
            for (at, row) in rows.iter_mut().enumerate() {
                row.push(if array.is_null(at) { Value::Null } else { $value(array.value(at))? });
            }
        }};
    }
    match field_type {
        FieldType::Text | FieldType::Picklist | FieldType::Reference => {
            read!(column.as_string::<i32>(), |text: &str| Some(Value::Text(text.to_owned())));
        }
        FieldType::Boolean => read!(column.as_boolean(), |b| Some(Value::Boolean(b))),
        FieldType::Number => read!(column.as_primitive::<Float64Type>(), |n: f64| n.is_finite().then_some(Value::Number(n))),
        FieldType::Date => read!(column.as_primitive::<Date32Type>(), |days: i32| {
            UNIX_DAY.checked_add_signed(TimeDelta::days(i64::from(days))).map(Value::Date)
        }),
        FieldType::DateTime => read!(column.as_primitive::<TimestampMillisecondType>(), |ms: i64| {
            DateTime::from_timestamp_millis(ms).map(Value::DateTime)
        }),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    const TYPES: [FieldType; 7] = [
        FieldType::Text,
        FieldType::Picklist,
        FieldType::Reference,
        FieldType::Boolean,
        FieldType::Number,
        FieldType::Date,
        FieldType::DateTime,
    ];

    fn schema() -> ObjectSchema {
        let field = |field_type: &FieldType| Field {
            name: format!("{field_type:?}"),
            label: String::new(),
            field_type: *field_type,
            nullable: false,
        };
        ObjectSchema { object: "Lead".into(), fields: TYPES.iter().map(field).collect() }
    }

    fn value(field_type: FieldType) -> BoxedStrategy<Value> {
        let some = match field_type {
            FieldType::Text | FieldType::Picklist | FieldType::Reference => ".{1,20}".prop_map(Value::Text).boxed(),
            FieldType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
            FieldType::Number => any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::Number).boxed(),
            FieldType::Date => (-90_000_000..90_000_000i64)
                .prop_map(|days| Value::Date(UNIX_DAY.checked_add_signed(TimeDelta::days(days)).unwrap()))
                .boxed(),
            FieldType::DateTime => (-8_000_000_000_000_000..8_000_000_000_000_000i64)
                .prop_map(|ms| Value::DateTime(DateTime::from_timestamp_millis(ms).unwrap()))
                .boxed(),
        };
        option::of(some).prop_map(|value| value.unwrap_or(Value::Null)).boxed()
    }

    fn bits(value: &Value) -> Option<u64> {
        if let Value::Number(n) = value { Some(n.to_bits()) } else { None }
    }

    proptest! {
        #[test]
        fn every_value_of_every_type_survives_the_columns(rows in vec(TYPES.map(value).to_vec(), 0..20)) {
            let schema = schema();
            let batch = to_batch(&schema, &arrow_schema(&schema), &rows).unwrap();
            let back = to_rows(&schema, &batch).unwrap();
            prop_assert_eq!(&back, &rows);
            for (row, row_back) in rows.iter().zip(&back) {
                prop_assert_eq!(row.iter().map(bits).collect::<Vec<_>>(), row_back.iter().map(bits).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_without_its_value() {
        let schema = schema();
        let arrow = arrow_schema(&schema);
        let mut row = vec![Value::Null; 7];
        row[4] = Value::Text("alice@example.org".into());
        let error = to_batch(&schema, &arrow, &[row]).unwrap_err();
        assert!(matches!(error, LakeError::SchemaMismatch { .. }));
        assert!(!error.to_string().contains("alice"), "{error}");

        let mut row = vec![Value::Null; 7];
        row[4] = Value::Number(f64::NAN);
        assert!(to_batch(&schema, &arrow, &[row]).is_err());
        assert!(to_batch(&schema, &arrow, &[vec![Value::Null; 6]]).is_err());
    }
}
