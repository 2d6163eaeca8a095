//! A record as text, JSON, raw bytes, or a hex dump.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::reader::Consumed;

/// How a record is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The value and a line feed.
    Text,
    /// One object a line, with everything the record has. Bytes that are not UTF-8 come as hex
    /// digits, in `key_hex` and `value_hex`.
    Json,
    /// The value's bytes and nothing else.
    Raw,
    /// For eyes: where the record stands, and its bytes in rows.
    Hex,
}

/// Prints records.
#[derive(Debug)]
pub(super) struct Printer<'a, W> {
    format: Format,
    key_separator: Option<String>,
    topic: &'a str,
    out: W,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(super) fn new(
        format: Format,
        key_separator: Option<String>,
        topic: &'a str,
        out: W,
    ) -> Self {
        Self { format, key_separator, topic, out }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(super) fn print(&mut self, consumed: &Consumed<'_>) -> io::Result<()> {
        match self.format {
            Format::Raw => self.out.write_all(consumed.record.value.unwrap_or_default()),
            Format::Text => self.print_text(consumed),
            Format::Json => {
                serde_json::to_writer(&mut self.out, &json(self.topic, consumed))?;
                self.out.write_all(b"\n")
            }
            Format::Hex => self.print_hex(consumed),
        }
    }

    fn print_text(&mut self, consumed: &Consumed<'_>) -> io::Result<()> {
        if let Some(separator) = &self.key_separator {
            self.out.write_all(consumed.record.key.unwrap_or_default())?;
            self.out.write_all(separator.as_bytes())?;
        }
        self.out.write_all(consumed.record.value.unwrap_or_default())?;
        self.out.write_all(b"\n")
    }

    fn print_hex(&mut self, consumed: &Consumed<'_>) -> io::Result<()> {
        let Consumed { partition, offset, timestamp_ms, .. } = *consumed;
        let time = time(timestamp_ms);
        writeln!(self.out, "{}-{partition} at {offset}, {time}", self.topic)?;
        let record = &consumed.record;
        self.dump("key", record.key)?;
        self.dump("value", record.value)?;
        for (name, value) in record.headers() {
            self.dump(&format!("header {}", String::from_utf8_lossy(name)), value)?;
        }
        self.out.write_all(b"\n")
    }

    fn dump(&mut self, what: &str, bytes: Option<&[u8]>) -> io::Result<()> {
        let Some(bytes) = bytes else { return writeln!(self.out, "  {what}: null") };
        writeln!(self.out, "  {what}: {} bytes", bytes.len())?;
        for (row, bytes) in bytes.chunks(16).enumerate() {
            let visible =
                |byte: &u8| if (b' '..=b'~').contains(byte) { *byte as char } else { '.' };
            let text: String = bytes.iter().map(visible).collect();
            writeln!(self.out, "    {:06x}  {:<47}  {text}", row * 16, spaced(bytes))?;
        }
        Ok(())
    }
}

fn json(topic: &str, consumed: &Consumed<'_>) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), topic.into());
    object.insert("partition".to_owned(), consumed.partition.into());
    object.insert("offset".to_owned(), consumed.offset.into());
    object.insert("timestamp_ms".to_owned(), consumed.timestamp_ms.into());
    insert_bytes(&mut object, "key", consumed.record.key);
    insert_bytes(&mut object, "value", consumed.record.value);
    let headers = consumed.record.headers().map(|(name, value)| {
        let mut header = Map::new();
        insert_bytes(&mut header, "name", Some(name));
        insert_bytes(&mut header, "value", value);
        Value::Object(header)
    });
    let headers: Vec<_> = headers.collect();
    if !headers.is_empty() {
        object.insert("headers".to_owned(), headers.into());
    }
    Value::Object(object)
}

fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        object.insert(name.to_owned(), Value::Null);
        return;
    };
    match str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), spaced(bytes).replace(' ', "").into()),
    };
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn time(ms: i64) -> String {
    match u64::try_from(ms) {
        Ok(ms) => {
            humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
        }
        Err(_) => "no time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use base::Batch;
    use base::batch::{BatchBuilder, records};

    use super::*;

    fn printed(format: Format, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, key, value, &[("trace", Some(b"7")), ("none", None)]);
        let batch = builder.build();
        let batch = Batch::parse(&batch).expect("built whole");
        let record = records(batch.records()).next().expect("one record");
        let consumed = Consumed { partition: 2, offset: 40, timestamp_ms: 1_000, record };
        let mut printer = Printer::new(format, Some("=".to_owned()), "orders", Vec::new());
        printer.print(&consumed).expect("a vector takes all");
        String::from_utf8(printer.out).expect("UTF-8")
    }

    #[test]
    fn each_format_shows_what_it_promises() {
        let (key, value) = (Some(&b"k"[..]), Some(&b"a value"[..]));
        assert_eq!(printed(Format::Text, key, value), "k=a value\n");
        assert_eq!(printed(Format::Raw, key, value), "a value");
        assert_eq!(
            printed(Format::Json, key, value),
            "{\"topic\":\"orders\",\"partition\":2,\"offset\":40,\"timestamp_ms\":1000,\
             \"key\":\"k\",\"value\":\"a value\",\
             \"headers\":[{\"name\":\"trace\",\"value\":\"7\"},{\"name\":\"none\",\"value\":null}]}\n"
        );
        let hex = printed(Format::Hex, None, Some(b"\x00binary"));
        assert!(
            hex.starts_with("orders-2 at 40, 1970-01-01T00:00:01.000Z\n  key: null\n"),
            "{hex}"
        );
        assert!(hex.contains("000000  00 62 69 6e 61 72 79 "), "{hex}");
        assert!(hex.contains("  .binary\n"), "{hex}");
    }

    #[test]
    fn bytes_that_are_no_text_come_as_hex_digits() {
        let json = printed(Format::Json, None, Some(b"\xff\x00"));
        assert!(json.contains("\"key\":null,\"value_hex\":\"ff00\""), "{json}");
    }
}
