//! Requests that schemathesis makes from the OpenAPI document, valid and not: no 5xx, no answer
//! that the document does not have, nothing taken that it forbids, nothing given to who brings no
//! credential where one is needed. Seeded, and bounded in number.

use std::process::Stdio;

use crate::support::Server;
use crate::support::access::{SCOPES, folder, token};
use crate::support::python::python;

/// What is checked of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,missing_required_header,\
    unsupported_method,allow_header_conformance,use_after_free";

#[tokio::test]
async fn the_document_tells_every_answer() {
    let server = Server::start().await;
    tells_every_answer(&server, &format!("{CHECKS},negative_data_rejection"), &[]).await;
    server.checkpoint().await;
}

#[tokio::test]
async fn the_document_tells_every_answer_with_authentication_too() {
    let (_folder, data) = folder();
    // Not the user of the document's examples, who is erased on the way, and his tokens with him.
    let token = token(&data, "an administrator", &SCOPES, &[]);
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    let header = format!("Authorization: Bearer {token}");
    // What is taken that the document forbids is the other run's: with a token an empty parameter,
    // which counts as absent everywhere, is all that a wrong request has.
    let checks = format!("{CHECKS},ignored_auth");
    tells_every_answer(&server, &checks, &[&header]).await;
    // The server lives and writes.
    server.with(&token).post("/api/admin/checkpoint", &serde_json::json!({})).await.expect(200);
}

/// Runs it with `headers`, as `Name: value`, in every request.
async fn tells_every_answer(server: &Server, checks: &str, headers: &[&str]) {
    let folder = tempfile::tempdir().expect("folder");
    let url = server.url("/api/openapi.json");
    // One worker and no database: the same requests in the same order every time.
    let mut args = vec!["-m", "schemathesis.cli", "run", url.as_str(), "--workers=1"];
    args.extend(["--phases=examples,coverage,fuzzing", "--max-examples=25", "--seed=20261124"]);
    args.extend(["--generation-database=none", "--no-color", "--warnings=off", "--checks", checks]);
    args.extend(headers.iter().flat_map(|header| ["--header", *header]));
    let mut command = python(&args);
    // It leaves files where it runs.
    command.current_dir(folder.path()).stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().expect("schemathesis"));
    let output = run.await.expect("run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    let cases = said.lines().find_map(|line| line.trim().split_once(" generated")).map(|(n, _)| n);
    let cases: u32 = cases.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(cases > 1000, "{said}");
}
