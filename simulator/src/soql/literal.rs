//! SOQL's literals: numbers, days, instants, and the named spans of days (`LAST_N_DAYS:30`).

use super::ast::Literal;
use crate::org::cells::parse_instant;
use chrono::{Datelike, Days, Months, NaiveDate, Utc};

/// A literal that begins with a digit or a sign.
pub(crate) fn scalar(text: &str) -> Option<Literal> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(Literal::Date(day));
    }
    if let Some(instant) = parse_instant(text) {
        return Some(Literal::Instant(instant));
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Literal::Number)
}

/// A literal that is a word, with the number after its colon.
pub(crate) fn named(word: &str, count: Option<u64>) -> Option<Literal> {
    let word = word.to_uppercase();
    match (word.as_str(), count) {
        ("NULL", None) => Some(Literal::Null),
        ("TRUE", None) => Some(Literal::Boolean(true)),
        ("FALSE", None) => Some(Literal::Boolean(false)),
        (name, count) => {
            let (from, until) = span(name, count, Utc::now().date_naive())?;
            Some(Literal::Days { from, until })
        }
    }
}

/// First day and the day after the last of a named span, as of `today`.
fn span(name: &str, count: Option<u64>, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let days = |n: u64| Days::new(n);
    let month = today.with_day(1)?;
    let year = month.with_month(1)?;
    let week = today - days(u64::from(today.weekday().num_days_from_sunday()));
    let quarter = month.with_month((month.month0() / 3) * 3 + 1)?;
    let months = |n: u64| Some(Months::new(u32::try_from(n).ok()?));
    Some(match (name, count) {
        ("YESTERDAY", None) => (today - days(1), today),
        ("TODAY", None) => (today, today + days(1)),
        ("TOMORROW", None) => (today + days(1), today + days(2)),
        ("LAST_WEEK", None) => (week - days(7), week),
        ("THIS_WEEK", None) => (week, week + days(7)),
        ("NEXT_WEEK", None) => (week + days(7), week + days(14)),
        ("LAST_MONTH", None) => (month - Months::new(1), month),
        ("THIS_MONTH", None) => (month, month + Months::new(1)),
        ("NEXT_MONTH", None) => (month + Months::new(1), month + Months::new(2)),
        ("LAST_90_DAYS", None) => (today - days(90), today + days(1)),
        ("NEXT_90_DAYS", None) => (today + days(1), today + days(91)),
        ("LAST_QUARTER", None) => (quarter - Months::new(3), quarter),
        ("THIS_QUARTER", None) => (quarter, quarter + Months::new(3)),
        ("LAST_YEAR", None) => (year - Months::new(12), year),
        ("THIS_YEAR", None) => (year, year + Months::new(12)),
        ("NEXT_YEAR", None) => (year + Months::new(12), year + Months::new(24)),
        ("LAST_N_DAYS", Some(n)) => (today.checked_sub_days(days(n))?, today + days(1)),
        ("NEXT_N_DAYS", Some(n)) => (today + days(1), today.checked_add_days(days(n + 1))?),
        ("LAST_N_MONTHS", Some(n)) => (month.checked_sub_months(months(n)?)?, month),
        ("LAST_N_YEARS", Some(n)) => (year.checked_sub_months(months(n.checked_mul(12)?)?)?, year),
        ("N_DAYS_AGO", Some(n)) => {
            let day = today.checked_sub_days(days(n))?;
            (day, day + days(1))
        }
        _ => return None,
    })
}
