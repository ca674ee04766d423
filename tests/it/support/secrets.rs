//! Looking for secrets in what the server wrote, in every form it might have written them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    digits.concat()
}

/// The forms of a secret: as it is, in hex, in base64 at each of the three places it can have in
/// a longer text, escaped as JSON does, and as a list of byte values, which `{:?}` prints.
pub fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let hex = hex(bytes);
    let escaped: Vec<String> = secret.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let escaped = escaped.concat();
    let json = serde_json::to_string(secret).expect("JSON");
    let twice = serde_json::to_string(&json).expect("JSON");
    let listed: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let percent: Vec<String> = bytes.iter().map(|b| format!("%{b:02X}")).collect();
    let mut forms = vec![
        ("plain", bytes.to_vec()),
        ("reversed", bytes.iter().rev().copied().collect()),
        ("UTF-16", secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("\\u escapes", escaped.clone().into_bytes()),
        ("\\U escapes", escaped.to_uppercase().replace("\\U", "\\u").into_bytes()),
        ("JSON", json.as_bytes()[1..json.len() - 1].to_vec()),
        ("JSON in JSON", twice.as_bytes()[3..twice.len() - 3].to_vec()),
        ("bytes", listed.join(", ").into_bytes()),
        ("compact bytes", listed.join(",").into_bytes()),
        ("percent", percent.concat().into_bytes()),
    ];
    for shift in 0..3 {
        let shifted = [&vec![0; shift][..], bytes].concat();
        for (name, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
            let text = engine.encode(&shifted);
            // Without the characters that depend on what stands before and behind.
            let from = [0, 2, 3][shift];
            let to = shifted.len() / 3 * 4;
            forms.push((name, text.as_bytes()[from..to].to_vec()));
        }
    }
    forms
}

/// The forms of a secret that some bytes hold.
pub fn found(bytes: &[u8], secret: &str) -> Vec<&'static str> {
    let holds = |form: &[u8]| bytes.windows(form.len()).any(|window| window == form);
    forms(secret).into_iter().filter(|(_, form)| holds(form)).map(|(name, _)| name).collect()
}
