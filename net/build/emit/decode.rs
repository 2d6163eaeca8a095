//! `impl Decode`: plain fields in wire order, then the tagged section.

use super::structs::{default_value, item_type, view};
use super::{asks_for_version, may_be_null, presence};
use crate::schema::{Field, Struct};

pub(crate) fn emit(out: &mut String, part: &Struct) {
    let name = view(part);
    *out += &format!("    impl<'a> Decode<'a> for {name} {{\n");
    *out += &format!("        const MIN_BYTES: usize = {};\n\n", min_bytes(part));
    *out += "        #[inline]\n";
    *out += "        fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {\n";
    let mut body = String::new();
    for field in part.plain() {
        body += &format!("            let {} = {};\n", field.name, value(field, part));
    }
    emit_tags(&mut body, part);
    if asks_for_version(&body) {
        *out += "            let version = reader.version();\n";
    }
    *out += &body;
    let names: Vec<_> = part.fields.iter().map(|field| field.name.as_str()).collect();
    *out += &format!("            Ok(Self {{ {} }})\n        }}\n    }}\n\n", names.join(", "));
}

/// A lower bound on an element's size: the fields that every version has.
fn min_bytes(part: &Struct) -> String {
    let always = part.plain().filter(|field| field.versions.covers(part.versions));
    let sizes: Vec<_> = always
        .map(|field| format!("<{} as Decode<'a>>::MIN_BYTES", item_type(&field.kind)))
        .collect();
    if sizes.is_empty() { "0".to_owned() } else { sizes.join(" + ") }
}

fn value(field: &Field, part: &Struct) -> String {
    let read = match (field.nullable, may_be_null(field).as_str()) {
        (None, _) | (_, "true") => "reader.take()?".to_owned(),
        (_, may) => format!("if {may} {{ reader.take()? }} else {{ Some(reader.take()?) }}"),
    };
    match presence(field, part) {
        None => read,
        Some(present) => {
            format!("if {present} {{ {read} }} else {{ {} }}", default_value(field))
        }
    }
}

fn emit_tags(out: &mut String, part: &Struct) {
    if part.tagged().next().is_none() {
        *out += "            reader.skip_tags()?;\n";
        return;
    }
    for (_, field) in part.tagged() {
        *out += &format!("            let mut {} = {};\n", field.name, default_value(field));
    }
    *out += "            let mut tags = reader.tags()?;\n";
    *out += "            while let Some((tag, mut body)) = tags.next(reader)? {\n";
    *out += "                match tag {\n";
    for (tag, field) in part.tagged() {
        let guard = presence(field, part).map_or_else(String::new, |when| format!(" if {when}"));
        *out += &format!("                    {tag}{guard} => {} = body.take()?,\n", field.name);
    }
    *out += "                    _ => {}\n                }\n            }\n";
}
