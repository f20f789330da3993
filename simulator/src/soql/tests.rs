use super::parser::parse;
use super::plan::Plan;
use super::{aggregate, ast};
use crate::error::ApiError;
use crate::org::{Load, Org};
use serde_json::json;
use std::io::Write;
use std::ops::ControlFlow;

/// Five customers with an id column, numbers, days, and missing values.
fn org() -> (tempfile::TempDir, Org) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.csv");
    let rows = "key,name,seats,since,plan,note\n\
                c-1,Ana's \"Best\",5,2024-01-10,gold,\n\
                c-2,bob_x,12,2024-02-29,silver,50%\n\
                c-3,Bobby,,2025-03-01,gold,\n\
                c-4,Zoe,7,,silver,late\n\
                c-5,ana,40,2023-12-31,gold,x\n";
    std::fs::File::create(&path).unwrap().write_all(rows.as_bytes()).unwrap();
    let org = Org::open(&folder.path().join("state"), 1, 200, &[Load { object: "Customer".into(), path }]).unwrap();
    (folder, org)
}

fn keys(org: &Org, condition: &str) -> Result<Vec<String>, ApiError> {
    let soql = format!("SELECT key FROM Customer {condition}");
    let plan = Plan::bind(org, &soql, &parse(&soql)?, false)?;
    let mut found = Vec::new();
    plan.rows(|_, row, parents| {
        found.push(plan.columns[0].with_text(row, parents, |text| String::from_utf8(text[2..].to_vec()).unwrap()));
        ControlFlow::Continue(())
    })
    .unwrap();
    Ok(found)
}

#[test]
fn conditions_select_as_the_vendor_does() {
    let (_folder, org) = org();
    let id = org.table("Customer").unwrap().id(2);
    let by_id = format!("WHERE Id IN ('{id}', '{}') AND plan = 'gold'", &id.as_str()[..15]);
    for (condition, expected) in [
        ("", vec!["1", "2", "3", "4", "5"]),
        ("WHERE seats > 6 AND seats <= 40", vec!["2", "4", "5"]),
        ("WHERE seats = null", vec!["3"]),
        ("WHERE seats != 12", vec!["1", "3", "4", "5"]),
        ("WHERE NOT (seats < 10 OR plan = 'silver')", vec!["3", "5"]),
        ("WHERE name = 'ANA'", vec!["5"]),
        ("WHERE name LIKE 'ana%'", vec!["1", "5"]),
        ("WHERE name LIKE 'bob\\_%'", vec!["2"]),
        ("WHERE name = 'Ana\\'s \"Best\"'", vec!["1"]),
        ("WHERE plan NOT IN ('gold')", vec!["2", "4"]),
        ("WHERE since >= 2024-02-29", vec!["2", "3"]),
        ("WHERE since < 2024-01-01 OR since = null", vec!["4", "5"]),
        ("WHERE since = LAST_N_DAYS:1", vec![]),
        ("WHERE SystemModstamp > 2024-06-01T00:00:00+02:00", vec!["1", "2", "3", "4", "5"]),
        ("WHERE IsDeleted = true", vec![]),
        (by_id.as_str(), vec!["3"]),
        ("WHERE Id IN (SELECT Id FROM Customer WHERE seats > 10)", vec!["2", "5"]),
        ("ORDER BY seats DESC", vec!["5", "2", "4", "1", "3"]),
        ("ORDER BY seats ASC NULLS LAST LIMIT 2 OFFSET 1", vec!["4", "2"]),
        ("ORDER BY plan, name DESC", vec!["3", "1", "5", "4", "2"]),
        ("WITH SECURITY_ENFORCED LIMIT 2", vec!["1", "2"]),
    ] {
        assert_eq!(keys(&org, condition).unwrap_or_else(|error| panic!("{condition}: {error:?}")), expected, "{condition}");
    }
}

#[test]
fn a_wrong_query_is_refused_with_the_vendors_code_and_place() {
    let (_folder, org) = org();
    let refused = |soql: &str| {
        let bound = parse(soql).and_then(|query: ast::Query| Plan::bind(&org, soql, &query, false).map(drop));
        let error = bound.expect_err(soql);
        (error.code, error.message)
    };
    for (soql, code, words) in [
        ("SELECT key FRM Customer", "MALFORMED_QUERY", "unexpected token: 'Customer'"),
        ("SELECT FROM Customer", "MALFORMED_QUERY", "ERROR at Row:1"),
        ("SELECT key FROM Customer WHERE name = 'x", "MALFORMED_QUERY", "unclosed"),
        ("SELECT key FROM Customer WHERE (((", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT nope FROM Customer", "INVALID_FIELD", "No such column 'nope' on entity 'Customer'"),
        ("SELECT key FROM Nope", "INVALID_TYPE", "sObject type 'Nope' is not supported"),
        ("SELECT Nope.Name FROM Customer", "INVALID_FIELD", "relationship 'Nope'"),
        ("SELECT key FROM Customer WHERE seats = 'five'", "INVALID_FIELD", "must be of type int"),
        ("SELECT key FROM Customer WHERE Leadline_Reasons__c = 'x'", "INVALID_FIELD", "can not be filtered"),
        ("SELECT FIELDS(ALL) FROM Customer", "MALFORMED_QUERY", "LIMIT of at most 200"),
    ] {
        let (found, message) = refused(soql);
        assert_eq!(found, code, "{soql}: {message}");
        assert!(message.contains(words), "{soql}: {message}");
    }
    assert!(refused("SELECT nope FROM Customer").1.contains("ERROR at Row:1:Column:8"));
    let nested = format!("SELECT key FROM Customer WHERE {}seats = 1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(refused(&nested).1.contains("too deeply"), "nesting must not exhaust the stack");
}

#[test]
fn aggregates_group_and_count() {
    let (_folder, org) = org();
    let soql = "SELECT plan, COUNT(Id) n, SUM(seats), MAX(since) FROM Customer GROUP BY plan ORDER BY plan";
    let records = aggregate::records(&org, soql, &parse(soql).unwrap(), false).unwrap();
    let gold =
        json!({ "attributes": { "type": "AggregateResult" }, "plan": "gold", "n": 3, "expr0": 45.0, "expr1": "2025-03-01" });
    assert_eq!(records[0], gold);
    assert_eq!(records.len(), 2);
    let count = "SELECT COUNT() FROM Customer WHERE plan = 'gold'";
    let query = parse(count).unwrap();
    assert!(query.is_bare_count());
    assert_eq!(aggregate::count(&Plan::bind(&org, count, &query, false).unwrap()).unwrap(), 3);
}
