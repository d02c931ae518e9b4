//! Arguments of tasks out of the words of a command line, or the lines of an input.

use super::error::CtlError;
use serde_json::Value;
use std::path::Path;

/// The value that a word means: JSON where it is JSON, else a string.
///
/// `640` is a number, `photo.jpg` and `"640"` (with its quotes) are strings.
pub(super) fn value(word: &str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.to_owned()))
}

/// Names of modules as the daemon understands them: it has another working directory.
pub(super) fn modules(given: &[String]) -> Result<Vec<String>, CtlError> {
    let absolute = |name: &String| {
        if !name.contains('/') {
            return Ok(name.clone());
        }
        let path = std::path::absolute(Path::new(name));
        let path = path.map_err(|error| CtlError::usage(format!("module `{name}`: {error}")))?;
        path.into_os_string()
            .into_string()
            .map_err(|path| CtlError::usage(format!("module {}: not UTF-8", path.display())))
    };
    given.iter().map(absolute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_where_it_is_json() {
        for (word, meant) in [
            ("640", json!(640)),
            ("-2.5e3", json!(-2500.0)),
            ("true", json!(true)),
            ("null", json!(null)),
            ("[1, \"a\"]", json!([1, "a"])),
            ("{\"year\": 2024}", json!({"year": 2024})),
            ("\"640\"", json!("640")),
            (" 7 ", json!(7)),
        ] {
            assert_eq!(value(word), meant, "{word}");
        }
    }

    #[test]
    fn a_string_where_not() {
        for word in ["", "photo.jpg", "True", "nan", "0x10", "1 2", "{year: 1}", "[1,", "01", "'a'"]
        {
            assert_eq!(value(word), json!(word), "{word}");
        }
    }

    #[test]
    fn paths_of_modules_are_absolute() {
        let given = ["thumbs".to_owned(), "/x/y.so".to_owned(), "./z.so".to_owned()];
        let here = std::env::current_dir().expect("directory").join("z.so");
        let expected = ["thumbs", "/x/y.so", here.to_str().expect("text")];
        assert_eq!(modules(&given).expect("paths"), expected);
    }

    proptest::proptest! {
        #[test]
        fn every_json_value_survives(number: i64, text: String, flag: bool) {
            let whole = json!({"number": number, "text": text, "list": [flag, null]});
            assert_eq!(value(&whole.to_string()), whole);
        }

        #[test]
        fn any_word_means_something(word: String) {
            let meant = value(&word);
            assert!(meant == json!(word) || serde_json::from_str::<Value>(&word).is_ok());
        }
    }
}
