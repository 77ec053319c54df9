//! `/manage/rest/v1/logging`: levels as a JSON object, logger to level; a change names some of them, `null` for what the
//! configuration says.

use serde_json::{Map, Value};

use crate::config::model::LogLevel;
use crate::logging::LogLevels;

/// Names of the levels.
const NAMES: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// The object.
pub fn render(levels: &LogLevels) -> Value {
    let name = |level| NAMES.iter().find(|(_, known)| *known == level).map_or("", |(name, _)| name);
    levels.all().into_iter().map(|(logger, level)| (logger, Value::from(name(level)))).collect::<Map<_, _>>().into()
}

/// Changes what `body` names, all or nothing.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn change(levels: &LogLevels, body: &[u8]) -> Result<(), String> {
    let wanted = "write an object such as {\"record-parser\": \"debug\"}, null to go back to the configuration";
    let changes: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("the body is not a JSON object: {error}; {wanted}"))?;
    let level = |(logger, value): (String, Value)| {
        let level = match &value {
            Value::Null => Ok(None),
            Value::String(name) => NAMES
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, level)| Some(*level))
                .ok_or(()),
            _ => Err(()),
        };
        level.map(|level| (logger.clone(), level)).map_err(|()| {
            format!("the level of {logger:?} is {value}; write one of error, warn, info, debug, trace, or null")
        })
    };
    let changes = changes.into_iter().map(level).collect::<Result<Vec<_>, _>>()?;
    levels.change(&changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_all_or_nothing_and_null_goes_back() {
        let levels = LogLevels::new(&[("root".to_owned(), LogLevel::Warn)]);
        change(&levels, br#"{"server": "DEBUG", "root": "error"}"#).unwrap();
        assert_eq!(render(&levels), serde_json::json!({"root": "error", "server": "debug"}));
        for (bad, words) in [
            (&b"{\"server\": \"loud\", \"root\": \"info\"}"[..], "\"server\" is \"loud\""),
            (b"{\"server\": 3}", "\"server\" is 3"),
            (b"[]", "not a JSON object"),
            (b"{\"\": \"info\"}", "1 to 200 bytes"),
            (b"", "not a JSON object"),
        ] {
            let why = change(&levels, bad).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(render(&levels), serde_json::json!({"root": "error", "server": "debug"}), "nothing changed");
        change(&levels, br#"{"server": null, "root": null}"#).unwrap();
        assert_eq!(render(&levels), serde_json::json!({"root": "warn"}));
    }

    #[test]
    fn loggers_with_a_level_of_their_own_are_bounded() {
        let levels = LogLevels::new(&[]);
        let many: Map<String, Value> = (0..65).map(|number| (format!("a.b{number}"), Value::from("info"))).collect();
        let why = change(&levels, Value::from(many).to_string().as_bytes()).unwrap_err();
        assert!(why.contains("at most 64 loggers"), "{why}");
        assert_eq!(render(&levels), serde_json::json!({"root": "info"}));
    }
}
