//! The committed tree, and files of the types pandas makes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, NullArray, StringArray, StringViewArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use serde_json::Value as Json;

use ::parquet::arrow::ArrowWriter;

use super::*;
use crate::domain::UserId;

fn rendered(row: &Row, user: &str) -> Json {
    let mut out = String::new();
    row.render(&UserId::checked(user).expect("user"), None, &|_, _| {}, &mut out);
    serde_json::from_str(&out).expect(&out)
}

fn table_of(name: &str) -> Table {
    Table::ALL.into_iter().find(|t| t.spec().name == name).expect(name)
}

fn parquet_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in folder.read_dir().expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files.append(&mut parquet_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            files.push(path.to_str().expect("path").to_owned());
        }
    }
    files.sort();
    files
}

#[test]
fn the_tree_reads_as_expected() {
    let root = "tests/fixtures/legacy-tree";
    let mut folders: BTreeMap<String, Vec<Vec<LegacyRow>>> = BTreeMap::new();
    for file in parquet_files(Path::new(root)) {
        let folder = file.rsplit_once('/').expect("folder").0.to_owned();
        let table = table_of(file.split('/').nth(3).expect("table"));
        let rows = decode_legacy(table, fixture(&file), Micros::new(0)).expect(&file);
        folders.entry(folder).or_default().push(rows);
    }
    let mut found = BTreeMap::new();
    for (folder, files) in folders {
        let user = folder.split("user_id=").nth(1).and_then(|u| u.split('/').next()).expect("user");
        for row in newest_wins(files) {
            assert_eq!(row.owner.as_deref(), Some(user));
            found.insert((row.row.table(), user.to_owned(), row.row.id.to_string()), row);
        }
    }
    let expected: Vec<Json> =
        serde_json::from_slice(&fixture(&format!("{root}/expected.json"))).expect("json");
    assert_eq!(found.len(), expected.len());
    for entry in expected {
        let text = |name: &str| entry[name].as_str().expect(name).to_owned();
        let key = (table_of(&text("table")), text("user_id"), text("id"));
        let row = found.get(&key).expect("row");
        let shown = rendered(&row.row, &key.1);
        for (name, value) in entry["record"].as_object().expect("record") {
            if name == "credentials" {
                let credentials = row.credentials.as_ref().expect("credentials").expose();
                assert_eq!(&serde_json::from_str::<Json>(credentials).expect("json"), value);
            } else {
                assert_eq!(&shown[name], value, "{key:?} {name}");
            }
        }
        assert_eq!(row.row.extra(), None);
        assert_eq!(row.row.sealed(), None);
    }
}

fn file(columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let batch = batch.expect("batch");
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    out.into()
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn decode(table: Table, columns: Vec<(&str, ArrayRef)>) -> Vec<LegacyRow> {
    decode_legacy(table, file(columns), Micros::new(7)).expect("rows")
}

#[test]
fn takes_any_type_that_holds_the_value() {
    let names: DictionaryArray<Int32Type> = ["one", "two"].into_iter().collect();
    let variables =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)]), None]);
    let days = Date32Array::from(vec![20_238, 20_239]);
    let rows = decode(
        Table::Distributions,
        vec![
            ("total_records", Arc::new(Float64Array::from(vec![5.0, f64::NAN]))),
            ("matched_records", Arc::new(Int32Array::from(vec![Some(3), None]))),
            ("match_rate", Arc::new(Int64Array::from(vec![1, 0]))),
            ("segments_distributed", Arc::new(variables)),
            ("created_at", texts(&[Some("2025-05-30 12:00:00+00:00"), None])),
            ("updated_at", Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]))),
            ("scheduled_at", Arc::new(TimestampMillisecondArray::from(vec![5, 6]))),
            ("executed_at", Arc::new(days)),
            ("audience_name", Arc::new(LargeStringArray::from(vec!["", "x"]))),
            ("platform_name", Arc::new(StringViewArray::from(vec!["long enough for a view", "y"]))),
            ("platform_type", Arc::new(names)),
            ("metadata", Arc::new(NullArray::new(2))),
            ("status", texts(&[Some("odd"), Some("completed")])),
            ("distribution_id", texts(&[Some("a"), Some("b")])),
        ],
    );
    let first = rendered(&rows[0].row, "u");
    assert_eq!(first["total_records"], 5);
    assert_eq!(first["matched_records"], 3);
    assert_eq!(first["match_rate"], 1.0);
    assert_eq!(first["segments_distributed"], serde_json::json!([1, 2]));
    assert_eq!(first["created_at"], "2025-05-30T12:00:00.000000Z");
    assert_eq!(first["updated_at"], "1970-01-01T00:00:00.000001Z");
    assert_eq!(first["scheduled_at"], "1970-01-01T00:00:00.005000Z");
    assert_eq!(first["executed_at"], "2025-05-30T00:00:00.000000Z");
    assert_eq!(first["audience_name"], "");
    assert_eq!(first["platform_name"], "long enough for a view");
    assert_eq!(first["platform_type"], "one");
    assert_eq!(first["status"], "odd");
    assert_eq!((&first["metadata"], &first["version"]), (&Json::Null, &1.into()));
    let second = &rows[1].row;
    assert_eq!((second.created_at, second.updated_at), (Micros::new(7), Micros::new(-1)));
    assert_eq!(rendered(second, "u")["total_records"], Json::Null);
}

#[test]
fn keeps_what_does_not_fit() {
    let insight = StructArray::from(vec![
        (
            Arc::new(Field::new("k", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![1])) as ArrayRef,
        ),
        (Arc::new(Field::new("t\"", DataType::Utf8, true)), texts(&[None])),
    ]);
    let rows = decode(
        Table::Audiences,
        vec![
            ("total_audience_size", Arc::new(Float64Array::from(vec![5.5]))),
            ("created_at", texts(&[Some("yesterday")])),
            ("insight", Arc::new(insight)),
            ("flag", Arc::new(BooleanArray::from(vec![true]))),
            ("nothing", Arc::new(NullArray::new(1))),
            ("metadata", texts(&[Some("{not json")])),
            ("segments", texts(&[Some("[ {\"a\" : NaN} ]")])),
            ("variable_details", texts(&[Some("[ 1.50 ]")])),
            ("selected_variables", texts(&[Some("A, B")])),
            ("extra", texts(&[Some(r#"{"x":[1],"name":"other"}"#)])),
            ("audience_id", Arc::new(Int64Array::from(vec![12]))),
        ],
    );
    let row = rendered(&rows[0].row, "u");
    assert_eq!(row["audience_id"], "12");
    assert_eq!(row["total_audience_size"], Json::Null);
    assert_eq!(row["legacy_total_audience_size"], 5.5);
    assert_eq!(row["created_at"], "1970-01-01T00:00:00.000007Z");
    assert_eq!(row["legacy_created_at"], "yesterday");
    assert_eq!(row["insight"], serde_json::json!({"k": 1, "t\"": null}));
    assert_eq!(row["flag"], true);
    assert!(row.get("nothing").is_none());
    assert_eq!(row["metadata"], "{not json");
    assert_eq!(row["segments"], "[ {\"a\" : NaN} ]");
    assert_eq!(rows[0].row.text("variable_details"), Some("[1.50]"));
    assert_eq!(row["selected_variables"], serde_json::json!(["A, B"]));
    assert_eq!((&row["x"], &row["legacy_name"]), (&serde_json::json!([1]), &"other".into()));
}

#[test]
fn a_row_without_a_usable_id_names_itself() {
    for ids in [[Some("ok"), None], [Some("ok"), Some("../x")], [Some("ok"), Some("")]] {
        let bytes = file(vec![("audience_id", texts(&ids))]);
        let result = decode_legacy(Table::Audiences, bytes, Micros::new(0));
        assert!(matches!(result, Err(ParquetError::BadRow { row: 1, .. })), "{result:?}");
    }
    let bytes = file(vec![("name", texts(&[Some("x")]))]);
    let result = decode_legacy(Table::Audiences, bytes, Micros::new(0));
    assert!(matches!(result, Err(ParquetError::BadRow { row: 0, .. })), "{result:?}");
}

#[test]
fn the_newest_wins_and_then_the_later_file() {
    let version = |id: &str, updated: i64, name: &str| {
        let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![updated * 1000]));
        let columns = vec![
            ("audience_id", texts(&[Some(id)])),
            ("updated_at", at),
            ("name", texts(&[Some(name)])),
        ];
        decode(Table::Audiences, columns)
    };
    let rows = newest_wins(vec![
        version("a", 5, "newest"),
        version("a", 4, "older"),
        version("b", 1, "first"),
        version("b", 1, "second"),
    ]);
    let names: Vec<_> = rows.iter().map(|r| r.row.text("name").expect("name")).collect();
    assert_eq!(names, ["second", "newest"], "ties of created_at go by id, descending");
}

#[test]
fn a_redacted_copy_keeps_everything_but_the_credentials() {
    let created: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]));
    let names: DictionaryArray<Int32Type> = ["one", "two"].into_iter().collect();
    let secrets: [ArrayRef; 3] = [
        texts(&[Some("{\"api_key\":\"sk-1\"}"), None]),
        Arc::new(LargeStringArray::from(vec![Some("{\"api_key\":\"sk-1\"}"), None])),
        Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("sk-1"), None])),
    ];
    for secret in secrets {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("platform_id", texts(&[Some("a"), Some("b")])),
            ("created_at", Arc::clone(&created)),
            ("credentials", secret),
            ("name", Arc::new(names.clone())),
            ("settings", texts(&[Some("{\"x\":1}"), None])),
            ("odd", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
            ("nothing", Arc::new(NullArray::new(2))),
        ];
        let before = file(columns);
        let after = redacted(before.clone()).expect("copy");
        assert_eq!(redacted(before.clone()).expect("copy"), after, "the same file, the same bytes");
        assert_eq!(redacted(after.clone()).expect("copy"), after, "once is enough");
        assert!(!after.windows(4).any(|w| w == b"sk-1"));
        let rows =
            |bytes: Bytes| decode_legacy(Table::Platforms, bytes, Micros::new(7)).expect("rows");
        let (before, after) = (rows(before), rows(after));
        assert!(before[0].credentials.is_some() && after.iter().all(|r| r.credentials.is_none()));
        let shown = |rows: &[LegacyRow]| rows.iter().map(|r| r.row.clone()).collect::<Vec<_>>();
        assert_eq!(shown(&before), shown(&after));
    }
}

#[test]
fn a_file_without_credentials_is_its_own_redacted_copy() {
    for path in parquet_files(Path::new("tests/fixtures/legacy-tree/audiences")) {
        assert_eq!(redacted(fixture(&path)).expect(&path), fixture(&path));
    }
    let none = file(vec![("platform_id", texts(&[Some("a")])), ("credentials", texts(&[None]))]);
    assert_eq!(redacted(none.clone()).expect("copy"), none);
    assert!(redacted(Bytes::from_static(b"not parquet")).is_err());
}
