//! Where reading begins.

use std::time::{SystemTime, UNIX_EPOCH};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Position {
    Beginning,
    End,
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    /// The first record at or after this time, milliseconds since 1970.
    Time(i64),
}

/// Reads what the command line says.
pub(in crate::commands) fn parse(text: &str) -> Result<Position, String> {
    parse_at(text, SystemTime::now()).ok_or_else(|| {
        "expects `beginning`, `end`, an offset, -N, a time such as 2026-11-22T10:00:00Z, or a \
         duration ago such as 15m"
            .to_owned()
    })
}

fn parse_at(text: &str, now: SystemTime) -> Option<Position> {
    match text {
        "beginning" => return Some(Position::Beginning),
        "end" => return Some(Position::End),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        let is_back = text.starts_with('-');
        return Some(if is_back { Position::Last(-number) } else { Position::Offset(number) });
    }
    let time = match humantime::parse_duration(text) {
        Ok(ago) => now.checked_sub(ago)?,
        Err(_) => humantime::parse_rfc3339_weak(text).ok()?,
    };
    let since_1970 = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Position::Time(i64::try_from(since_1970.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_form_of_the_help_is_understood() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let cases = [
            ("beginning", Position::Beginning),
            ("end", Position::End),
            ("1200", Position::Offset(1200)),
            ("-10", Position::Last(10)),
            ("15m", Position::Time(9_100_000)),
            ("1h 30m", Position::Time(4_600_000)),
            ("1970-01-01T01:00:00Z", Position::Time(3_600_000)),
            ("1970-01-02 00:00:00", Position::Time(86_400_000)),
        ];
        for (text, position) in cases {
            assert_eq!(parse_at(text, now), Some(position), "{text}");
        }
        for text in ["", "start", "15", "-", "3 parsecs"] {
            let is_number = text.parse::<i64>().is_ok();
            assert_eq!(parse_at(text, now).is_some(), is_number, "{text}");
        }
    }
}
