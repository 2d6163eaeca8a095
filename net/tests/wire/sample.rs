//! Random messages, drawn straight from the schemas as bytes: an encoder that shares nothing with
//! the one under test but the tables.

use std::path::Path;

use super::parse;
use super::random::Random;
use super::schema::{Api, Field, Kind, Struct};

/// Every schema, ordered by key.
pub(crate) fn schemas() -> Vec<Api> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let mut apis: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            parse::api(&path.display().to_string(), &text).unwrap()
        })
        .collect();
    apis.sort_by_key(|api| api.key);
    apis
}

/// Draws messages of one version.
pub(crate) struct Sampler<'r> {
    pub(crate) version: i16,
    pub(crate) is_flexible: bool,
    pub(crate) random: &'r mut Random,
    /// Put a tag that no schema knows into every tagged section.
    pub(crate) foreign_tags: bool,
}

impl<'r> Sampler<'r> {
    pub(crate) fn new(api: &Api, version: i16, random: &'r mut Random) -> Self {
        Self { version, is_flexible: api.flexible <= version, random, foreign_tags: false }
    }

    /// The canonical bytes of a random message.
    pub(crate) fn message(&mut self, part: &Struct) -> Vec<u8> {
        let (mut out, version) = (Vec::new(), self.version);
        for field in part.plain().filter(|field| has(field, version)) {
            self.field(&mut out, field);
        }
        if self.is_flexible {
            self.tags(&mut out, part);
        }
        out
    }

    fn field(&mut self, out: &mut Vec<u8>, field: &Field) {
        let range = field.nullable.filter(|it| it.min <= self.version && self.version <= it.max);
        if range.is_some() && self.random.one_in(4) {
            return self.null(out, &field.kind);
        }
        self.value(out, &field.kind);
    }

    fn value(&mut self, out: &mut Vec<u8>, kind: &Kind) {
        match kind {
            Kind::Bool => out.push(self.random.below(2) as u8),
            Kind::I8 => out.push(self.integer() as u8),
            Kind::I16 => out.extend((self.integer() as i16).to_be_bytes()),
            Kind::I32 => out.extend((self.integer() as i32).to_be_bytes()),
            Kind::I64 => out.extend(self.integer().to_be_bytes()),
            Kind::Error => out.extend((self.random.below(135) as i16 - 1).to_be_bytes()),
            Kind::Uuid => {
                out.extend([self.random.bits(), self.random.bits()].map(u64::to_be_bytes).concat())
            }
            Kind::String => {
                let text = self.text();
                self.length(out, text.len(), 2);
                out.extend(text.bytes());
            }
            Kind::Bytes | Kind::Records => {
                let len = self.random.pick(&[0, 1, 61, 126, 127, 128, 300]);
                self.length(out, len, 4);
                out.extend((0..len).map(|_| self.random.bits() as u8));
            }
            Kind::Struct(inner) => out.extend(self.message(inner)),
            Kind::Array(items) => {
                let count = self.random.below(4);
                self.length(out, count, 4);
                (0..count).for_each(|_| self.value(out, items));
            }
        }
    }

    /// The tagged section: about half of the fields, none with the value that leaves it out.
    fn tags(&mut self, out: &mut Vec<u8>, part: &Struct) {
        let mut fields: Vec<_> =
            part.tagged().filter(|(_, field)| has(field, self.version)).collect();
        fields.retain(|_| self.random.one_in(2));
        fields.sort_by_key(|(tag, _)| *tag);
        varint(out, fields.len() as u32 + u32::from(self.foreign_tags));
        for (tag, field) in fields {
            let body = self.tagged(&field.kind);
            varint(out, tag);
            varint(out, body.len() as u32);
            out.extend(body);
        }
        if self.foreign_tags {
            varint(out, 1000);
            varint(out, 3);
            out.extend(b"???");
        }
    }

    fn tagged(&mut self, kind: &Kind) -> Vec<u8> {
        let mut body = Vec::new();
        match kind {
            Kind::Bool => body.push(1),
            Kind::Error => body.extend([0, 3]),
            Kind::String => {
                self.length(&mut body, 7, 2);
                body.extend(b"cluster");
            }
            Kind::Struct(inner) => {
                // Positive first integers: never the default of −1.
                for field in inner.plain().filter(|field| has(field, self.version)) {
                    let width = if matches!(field.kind, Kind::I64) { 8 } else { 4 };
                    body.extend(vec![0; width - 1]);
                    body.push(1 + self.random.below(100) as u8);
                }
                self.tags(&mut body, inner);
            }
            Kind::Array(items) => {
                let count = 1 + self.random.below(20);
                self.length(&mut body, count, 4);
                (0..count).for_each(|_| self.value(&mut body, items));
            }
            Kind::I64 => body.extend((self.random.bits() >> 1).to_be_bytes()),
            Kind::Uuid => body.extend([7; 16]),
            other => panic!("no sample for a tagged {other:?}"),
        }
        body
    }

    fn integer(&mut self) -> i64 {
        match self.random.below(4) {
            0 => self.random.pick(&[0, -1, 1, i64::MAX, i64::MIN]),
            1 => self.random.below(1000) as i64,
            _ => self.random.bits() as i64,
        }
    }

    fn text(&mut self) -> String {
        let long = "x".repeat(200);
        self.random
            .pick(&["", "t", "orders", "caf\u{e9} \u{1f980}", "\"quoted\" \\", &long])
            .to_owned()
    }

    fn length(&mut self, out: &mut Vec<u8>, length: usize, width: usize) {
        match (self.is_flexible, width) {
            (true, _) => varint(out, length as u32 + 1),
            (false, 2) => out.extend((length as i16).to_be_bytes()),
            (false, _) => out.extend((length as i32).to_be_bytes()),
        }
    }

    fn null(&mut self, out: &mut Vec<u8>, kind: &Kind) {
        match (self.is_flexible, kind) {
            (true, _) => out.push(0),
            (false, Kind::String) => out.extend([0xff; 2]),
            (false, _) => out.extend([0xff; 4]),
        }
    }
}

fn has(field: &Field, version: i16) -> bool {
    field.versions.min <= version && version <= field.versions.max
}

fn varint(out: &mut Vec<u8>, mut value: u32) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
