//! Which topic names are legal: Kafka's rules (`org.apache.kafka.common.internals.Topic`).

use core::fmt;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 249;

/// Names that clients may not create: Kafka's, kept for the parts that will own them.
pub const RESERVED_NAMES: [&str; 3] =
    ["__cluster_metadata", "__consumer_offsets", "__transaction_state"];

/// The topic that holds groups and their offsets.
pub const OFFSETS: &str = "__consumer_offsets";

/// What is wrong with a topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    Empty,
    /// `.` or `..`.
    Dots,
    TooLong {
        bytes: usize,
    },
    /// Not one of `a-z A-Z 0-9 . _ -`.
    Character(char),
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a topic's name cannot be empty"),
            Self::Dots => write!(f, "a topic's name cannot be . or .."),
            Self::TooLong { bytes } => {
                write!(f, "a topic's name has at most {NAME_BYTES_MAX} characters, not {bytes}")
            }
            Self::Character(found) => {
                write!(f, "a topic's name has letters, digits, '.', '_' and '-', not {found:?}")
            }
            Self::Reserved => write!(f, "the name is reserved"),
        }
    }
}

impl core::error::Error for NameError {}

/// Whether a client may create a topic called `name`.
pub fn check(name: &str) -> Result<(), NameError> {
    check_any(name)?;
    if is_reserved(name) { Err(NameError::Reserved) } else { Ok(()) }
}

/// Whether the topic belongs to the brokers: clients neither create, delete nor write it.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.contains(&name)
}

/// Whether there can be a topic called `name`, whoever creates it: of the reserved ones those that
/// brokers make use of.
pub fn check_any(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if matches!(name, "." | "..") {
        return Err(NameError::Dots);
    }
    if NAME_BYTES_MAX < name.len() {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    if let Some(found) = name.chars().find(|c| !is_legal(*c)) {
        return Err(NameError::Character(found));
    }
    if is_reserved(name) && name != OFFSETS {
        return Err(NameError::Reserved);
    }
    Ok(())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_rules_hold() {
        for legal in ["a", "A.b_c-9", "...", "__mine", &"x".repeat(249)] {
            assert_eq!(check(legal), Ok(()), "{legal}");
        }
        let cases = [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a b", NameError::Character(' ')),
            ("tést", NameError::Character('é')),
            ("__consumer_offsets", NameError::Reserved),
        ];
        for (name, error) in cases {
            assert_eq!(check(name), Err(error), "{name}");
        }
        assert_eq!(check(&"x".repeat(250)), Err(NameError::TooLong { bytes: 250 }));
    }
}
