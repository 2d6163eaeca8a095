//! Settings as given, before anything is believed about them: text, and where it came from.
//!
//! A flag wins over the environment, the environment over the file, the file over the default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::table::{self, SETTINGS, Setting};
use super::value::Value;

/// See the module's description.
#[derive(Debug, Default)]
pub struct RawConfig {
    given: BTreeMap<&'static str, Given>,
}

#[derive(Debug)]
struct Given {
    text: String,
    origin: Origin,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Variable(String),
    File { key: String, path: PathBuf },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { key, path } => write!(f, "`{key}` in {}", path.display()),
        }
    }
}

impl RawConfig {
    /// Takes the settings of a TOML file.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let table = text.parse::<toml::Table>().map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
            message: error.message().to_owned(),
        })?;
        self.take_table("", &table, path)
    }

    fn take_table(
        &mut self,
        prefix: &str,
        table: &toml::Table,
        path: &Path,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            let is_section = SETTINGS.iter().any(|s| s.key.starts_with(&format!("{key}.")));
            if let (true, toml::Value::Table(section)) = (is_section, value) {
                self.take_table(&format!("{key}."), section, path)?;
                continue;
            }
            let origin = Origin::File { key: key.clone(), path: path.to_owned() };
            let Some(setting) = table::find(&key) else {
                let nearest = match value {
                    toml::Value::Table(_) => {
                        table::nearest(&key, table::sections()).map(|name| format!("`[{name}]`"))
                    }
                    _ => table::nearest(&key, SETTINGS.iter().map(|s| s.key))
                        .map(|key| format!("`{key}`")),
                };
                return Err(ConfigError::UnknownKey { origin, nearest });
            };
            let text =
                scalar(value).ok_or_else(|| ConfigError::NotAScalar { origin: origin.clone() })?;
            self.give(setting, text, origin);
        }
        Ok(())
    }

    /// Takes the settings among environment variables. A `CHIPLOG_` name that is nearly a setting
    /// is refused; any other is returned, for a note: others may use that prefix too.
    pub fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Vec<String>, ConfigError> {
        let mut foreign = Vec::new();
        for (name, text) in variables {
            let Some(stem) = name.strip_prefix("CHIPLOG_") else { continue };
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let known = SETTINGS.iter().find(|setting| setting.variable() == name);
            if let Some(setting) = known {
                self.give(setting, text, Origin::Variable(name));
                continue;
            }
            let stems = SETTINGS.iter().map(|s| s.variable()["CHIPLOG_".len()..].to_owned());
            match table::nearest(stem, stems) {
                None => foreign.push(name),
                Some(near) => {
                    return Err(ConfigError::UnknownKey {
                        origin: Origin::Variable(name),
                        nearest: Some(format!("CHIPLOG_{near}")),
                    });
                }
            }
        }
        Ok(foreign)
    }

    /// Takes a flag's value.
    pub fn take_flag(&mut self, setting: &'static Setting, text: String) {
        self.give(setting, text, Origin::Flag(setting.flag()));
    }

    /// Sources are read from the weakest to the strongest: a later one wins.
    fn give(&mut self, setting: &'static Setting, text: String, origin: Origin) {
        self.given.insert(setting.key, Given { text, origin });
    }

    /// The value of a setting that has a default.
    pub fn required<V: Value>(&self, key: &'static str) -> Result<V, ConfigError> {
        self.optional(key)?.map_or_else(|| Ok(default(key)), Ok)
    }

    /// The value of a setting if it was given.
    pub fn optional<V: Value>(&self, key: &'static str) -> Result<Option<V>, ConfigError> {
        assert!(table::find(key).is_some(), "{key} is not in the table");
        let Some(given) = self.given.get(key) else { return Ok(None) };
        let value = V::parse(&given.text).ok_or_else(|| ConfigError::Invalid {
            origin: given.origin.clone(),
            text: given.text.clone(),
            expected: V::EXPECTED,
        })?;
        Ok(Some(value))
    }

    /// How to name `key` in an error about its value: by where it was given, else by its flag.
    #[must_use]
    pub fn origin(&self, key: &'static str) -> Origin {
        let flag = || Origin::Flag(table::find(key).expect("a key of the table").flag());
        self.given.get(key).map_or_else(flag, |given| given.origin.clone())
    }
}

/// Variables with our prefix that are not settings of `serve`.
pub const OTHER_VARIABLES: [&str; 2] = ["CHIPLOG_CONFIG", "CHIPLOG_BOOTSTRAP"];

fn default<V: Value>(key: &str) -> V {
    let setting = table::find(key).expect("a key of the table");
    V::parse(setting.default).expect("defaults are valid values")
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}
