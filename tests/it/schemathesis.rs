//! Requests that schemathesis makes from the OpenAPI document, valid and not: no 5xx, no answer
//! that the document does not have, nothing taken that it forbids. Seeded, and bounded in number.

use std::process::Stdio;

use crate::support::Server;
use crate::support::python::python;

/// What is checked of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance,use_after_free";

/// Headers of every request, as `Name: value`.
const HEADERS: &[&str] = &[];

#[tokio::test]
async fn the_document_tells_every_answer() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let url = server.url("/api/openapi.json");
    // One worker and no database: the same requests in the same order every time.
    let mut args = vec!["-m", "schemathesis.cli", "run", url.as_str(), "--workers=1"];
    args.extend(["--phases=examples,coverage,fuzzing", "--max-examples=25", "--seed=20261124"]);
    args.extend(["--generation-database=none", "--no-color", "--warnings=off", "--checks", CHECKS]);
    args.extend(HEADERS.iter().flat_map(|header| ["--header", header]));
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
    // The server lives and writes.
    server.checkpoint().await;
}
