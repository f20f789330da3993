use super::*;
use crate::schema::FieldKind;
use std::io::Write;

fn load(content: &[u8]) -> (tempfile::NamedTempFile, Load) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let load = Load { object: "Customer".into(), path: file.path().to_owned() };
    (file, load)
}

fn inferred(content: &str) -> Vec<(String, FieldKind)> {
    let (_file, load) = load(content.as_bytes());
    let def = infer(&load, 0).unwrap();
    def.fields[SYSTEM_WIDTH..def.fields.len() - 4].iter().map(|field| (field.name.clone(), field.kind.clone())).collect()
}

#[test]
fn types_come_from_the_values_and_yes_no_stays_the_files_own_words() {
    let rows = "1;yes;2024-03-05;007;1.5;2010-12-01 08:26:00;true;\n2;no;2024-03-06;008;.25;2010-12-01 08:28:00;FALSE; \n\
                3;yes;;009;-3;;true;\n4;no;2024-03-08;010;1e3;2010-12-02 00:00:00;false;\n";
    let fields = inferred(&format!("n;answer;day;code;x;at;flag;blank\n{rows}"));
    let kind = |name: &str| fields.iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!(kind("n"), FieldKind::Int);
    assert_eq!(kind("answer"), FieldKind::Picklist { values: vec!["no".into(), "yes".into()] });
    assert_eq!(kind("day"), FieldKind::Date);
    assert_eq!(kind("code"), FieldKind::String { length: 255 }, "leading zeros are a code and no number");
    assert_eq!(kind("x"), FieldKind::Double { scale: 8 });
    assert_eq!(kind("at"), FieldKind::DateTime);
    assert_eq!(kind("flag"), FieldKind::Boolean);
    assert_eq!(kind("blank"), FieldKind::String { length: 255 });
}

#[test]
fn names_become_api_names_and_labels_keep_the_header() {
    let (_file, load) = load(b"\xef\xbb\xbfemp.var.rate,Id,2nd,duration,Duration,\"a,b\"\n1,x,2,3,4,5\n");
    let def = infer(&load, 7).unwrap();
    let names: Vec<&str> = def.fields[SYSTEM_WIDTH..].iter().map(|field| field.name.as_str()).take(6).collect();
    assert_eq!(names, ["emp_var_rate", "Id_2", "X2nd", "duration", "Duration_2", "a_b"]);
    assert_eq!(def.field("emp_var_rate").unwrap().label, "emp.var.rate");
    assert_eq!(def.key_prefix, "a07");
    assert!(def.field("Leadline_Score__c").is_some());
}

#[test]
fn a_ragged_or_empty_file_is_refused_with_its_line() {
    let (_file, ragged) = load(b"a,b\n1,2\n3\n");
    let error = infer(&ragged, 0).unwrap_err().to_string();
    assert!(error.contains("line: 3"), "{error}");
    let (_file, empty) = load(b"");
    assert!(infer(&empty, 0).unwrap_err().to_string().contains("header"));
}

#[test]
fn the_real_files_are_read_whole() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = tempfile::tempdir().unwrap();
    for (file, rows, column, kind) in [
        ("bank-marketing/bank-full.csv.gz", 45_211, "duration", FieldKind::Int),
        ("telco-churn/Telco-Customer-Churn.csv.gz", 7_043, "TotalCharges", FieldKind::Double { scale: 8 }),
    ] {
        let load = Load { object: "Lead".into(), path: data.join(file) };
        let def = infer(&load, 0).unwrap_or_else(|error| panic!("the shared data must be beside the checkout: {error}"));
        assert_eq!(def.field(column).unwrap().kind, kind);
        let mut writer = BaseWriter::create(folder.path()).unwrap();
        write_rows(&load, &def, &mut writer).unwrap();
        assert_eq!(writer.finish().unwrap(), rows);
    }
}
