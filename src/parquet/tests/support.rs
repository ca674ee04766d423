//! Rows and files for the tests.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use crate::domain::json_text::push_string;
use crate::domain::{Cell, Kind, Micros, RecordId, Row, Table, UserId};
use crate::parquet::{
    Base, Changes, Encoded, Fetched, FileView, Footer, Options, decode_group, encode,
};

pub(super) fn footer() -> Footer {
    Footer {
        user: UserId::checked("demo_user").expect("user"),
        applied_lsn: 42,
        log_id: Uuid::from_u128(0x1234),
        schema_version: 1,
        foreign_ids: 0,
        adopted: Vec::new(),
    }
}

/// Groups of four rows, so that few rows make many groups.
pub(super) fn small_groups() -> Options {
    Options { rows_per_group: 4, ..Options::default() }
}

pub(super) fn upserts(rows: impl IntoIterator<Item = Row>) -> Changes {
    Changes { upserts: rows.into_iter().map(Arc::new).collect(), ..Changes::default() }
}

/// A file made out of `base` and changes.
pub(super) fn next(
    table: Table,
    base: Option<&Bytes>,
    changes: &Changes,
    options: &Options,
) -> Encoded {
    let view = base.map(|b| FileView::open(b).expect("base"));
    let base = view.as_ref().zip(base).map(|(view, source)| Base { view, source });
    encode(table, base.as_ref(), changes, &footer(), options).expect("encode")
}

pub(super) fn read_all(bytes: &Bytes) -> Vec<Row> {
    let view = FileView::open(bytes).expect("view");
    let fetched = Fetched::part(0, bytes.clone());
    let groups = 0..view.groups().len();
    let rows: Vec<Row> =
        groups.flat_map(|g| decode_group(&view, g, &fetched, None).expect("group")).collect();
    assert_eq!(rows.len() as u64, view.rows());
    rows
}

pub(super) fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| b.id.cmp(&a.id)));
    rows
}

pub(super) fn id(text: &str) -> RecordId {
    RecordId::checked(text).expect("id")
}

/// The body that today's client saves.
pub(super) fn payload_row(number: i64) -> Row {
    let mut b = Row::build(Table::Audiences);
    let name = format!("Audience {number} - 5/30/2025");
    b.set_named("name", Cell::Text(&name));
    b.set_named("description", Cell::Text("Find males aged 18-24 interested in gaming"));
    b.set_named("status", Cell::Text("active"));
    b.set_named("data_type", Cell::Text("first_party"));
    b.set_named("original_query", Cell::Text("gaming enthusiasts"));
    b.set_named(
        "selected_variables",
        Cell::Json(r#"["AGE_18_24","GENDER_M","GAMING_INT","CONSOLE_OWN","STREAMING"]"#),
    );
    b.set_named("variable_details", Cell::Json(r#"[{"code":"AGE_18_24","description":"Age 18 to 24","relevance_score":0.95,"type":"demographic","category":"Demographics"},{"code":"GAMING_INT","description":"Interest in gaming","relevance_score":0.91,"type":"behavioral","category":"Behavioral"}]"#));
    b.set_named("segments", Cell::Json(r#"[{"segment_id":0,"name":"Console Gamers","size":34521,"size_percentage":5.2,"characteristics":{"avg_income":"$52,000","primary_age":"18-22"},"prizm_segments":["Young Digerati","Bohemian Mix"]},{"segment_id":1,"name":"Mobile Gamers","size":33321,"size_percentage":5.0,"characteristics":{"avg_income":"$48,000"},"prizm_segments":["Young Digerati"]}]"#));
    b.set_named("total_audience_size", Cell::Int(67842 + number));
    let metadata = format!(
        r#"{{"created_from":"nl_audience_builder","session_id":"s-{number}","tags":["q4","gaming"]}}"#
    );
    b.set_named("metadata", Cell::Json(&metadata));
    b.set_named("extra", Cell::Json(r#"{"enhanced_name":"Gaming-Enthusiast Gen Z Males","natural_language_criteria":"Males between ages 18-24 who are interested in video games","audience_size":67842,"insights":["Focused audience of 68K+ targeted users","Digital-native generation"]}"#));
    let at = Micros::new(1_748_600_000_000_000 + number * 1_234_567);
    let random = u128::try_from(number).expect("number") * 0x9E37_79B9_7F4A_7C15_F39C;
    let bytes = random.to_be_bytes();
    let made = RecordId::made(Table::Audiences, at, *bytes.last_chunk().expect("ten bytes"));
    b.finish(made, at, Micros::new(at.get() + 77), 1)
}

fn json_string(text: &str) -> String {
    let mut out = String::new();
    push_string(text, &mut out);
    out
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z ]{1,12}", any::<String>()]
}

fn list(numbers: bool) -> impl Strategy<Value = String> {
    let item = prop_oneof![
        text().prop_map(|t| json_string(&t)),
        any::<i64>().prop_map(move |n| if numbers { n.to_string() } else { format!("\"{n}\"") }),
        "[0-9.\"-]{0,4}".prop_map(|t| json_string(&t)),
    ];
    proptest::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(",")))
}

/// A column's value as a row holds it.
#[derive(Debug, Clone)]
enum Value {
    Null,
    Int(i64),
    Double(f64),
    Time(i64),
    Text(String),
    Json(String),
    Sealed(Vec<u8>),
}

fn value(kind: Kind) -> BoxedStrategy<Value> {
    let some = match kind {
        Kind::Text => text().prop_map(Value::Text).boxed(),
        Kind::Enum(values) => proptest::sample::select(values.to_vec())
            .prop_map(|v| Value::Text(v.to_owned()))
            .boxed(),
        Kind::Timestamp => any::<i64>().prop_map(Value::Time).boxed(),
        Kind::Int64 => any::<i64>().prop_map(Value::Int).boxed(),
        Kind::Double => (-1e300..1e300).prop_map(Value::Double).boxed(),
        Kind::TextList { numbers } => list(numbers).prop_map(Value::Json).boxed(),
        Kind::Json(_) => text().prop_map(|t| Value::Json(format!("[{}]", json_string(&t)))).boxed(),
        Kind::Extra => {
            text().prop_map(|t| Value::Json(format!("{{\"x\":{}}}", json_string(&t)))).boxed()
        }
        Kind::Sealed => any::<Vec<u8>>().prop_map(Value::Sealed).boxed(),
        _ => Just(Value::Null).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 3 => some].boxed()
}

/// Rows of a table. Ids come from so small a set that changes meet rows; the time of creation is
/// a function of the id, as it never changes, and has ties.
pub(super) fn row(table: Table) -> impl Strategy<Value = Row> {
    let values: Vec<_> = table.spec().columns.iter().map(|c| value(c.kind)).collect();
    (0..40_i64, any::<i64>(), 1..1000_i64, values).prop_map(
        move |(number, updated, version, values)| {
            let mut b = Row::build(table);
            for (index, value) in values.into_iter().enumerate() {
                match value {
                    Value::Null => {}
                    Value::Int(n) => b.set(index, Cell::Int(n)),
                    Value::Double(d) => b.set(index, Cell::Double(d)),
                    Value::Time(t) => b.set(index, Cell::Time(Micros::new(t))),
                    Value::Text(t) => b.set(index, Cell::Text(&t)),
                    Value::Json(t) => b.set(index, Cell::Json(&t)),
                    Value::Sealed(s) => b.set_sealed(Some(s.into())),
                }
            }
            let created = Micros::new((number * 7919) % 40 / 4 * 1000);
            b.finish(id(&format!("r-{number:02}")), created, Micros::new(updated), version)
        },
    )
}

pub(super) fn any_table() -> impl Strategy<Value = Table> {
    proptest::sample::select(Table::ALL.to_vec())
}
