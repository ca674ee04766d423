//! The Python that other readers of the files run in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The interpreter: the one `AUDIENCE_STORE_TEST_PYTHON` names, else that of `tests/.venv`, which
/// is made where it is missing.
fn interpreter() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(named) = std::env::var_os("AUDIENCE_STORE_TEST_PYTHON") {
            return named.into();
        }
        let script = tests_folder().join("python-env");
        let made = Command::new(script).stderr(Stdio::inherit()).output().expect("python-env");
        assert!(made.status.success(), "tests/python-env: {}", made.status);
        String::from_utf8(made.stdout).expect("UTF-8").trim_end().into()
    })
}

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Python with arguments, its bytecode kept out of the repository.
pub fn python(args: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    command.arg("-B").args(args);
    command
}

/// Runs `tests/it/readers/{script}` and answers the JSON it prints.
pub async fn verdict(script: &str, args: &[&str]) -> Value {
    let script = tests_folder().join("it/readers").join(script);
    let args: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
    let run = move || {
        let mut command = Command::new(interpreter());
        command.arg("-B").arg(&script).args(args);
        let (code, out, error) = super::run(command);
        assert_eq!(code, 0, "{}: {error}", script.display());
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{}: {e}: {out}", script.display()))
    };
    tokio::task::spawn_blocking(run).await.expect("reader")
}
