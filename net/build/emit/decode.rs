//! `impl Decode`: plain fields in wire order, then the tagged section. `check` walks over the same
//! bytes without making anything of them.

use super::structs::{default_value, item_type, optional_type, view};
use super::{asks_for_version, may_be_null, presence};
use crate::schema::{Field, Struct};

pub(crate) fn emit(out: &mut String, part: &Struct) {
    *out += &format!("    impl<'a> Decode<'a> for {} {{\n", view(part));
    *out += &format!("        const MIN_BYTES: usize = {};\n\n", min_bytes(part));
    emit_decode(out, part);
    emit_check(out, part);
    *out += "    }\n\n";
}

fn emit_decode(out: &mut String, part: &Struct) {
    let mut body = String::new();
    for field in part.plain() {
        body += &format!("            let {} = {};\n", field.name, value(field, part));
    }
    for (_, field) in part.tagged() {
        body += &format!("            let mut {} = {};\n", field.name, default_value(field));
    }
    emit_tags(&mut body, part, |field| format!("{} = body.take()?", field.name));
    let names: Vec<_> = part.fields.iter().map(|field| field.name.as_str()).collect();
    body += &format!("            Ok(Self {{ {} }})\n", names.join(", "));
    emit_function(out, "decode", "Self", &body);
    out.push('\n');
}

fn emit_check(out: &mut String, part: &Struct) {
    let mut body = String::new();
    for field in part.plain() {
        let check = match (field.nullable, may_be_null(field).as_str()) {
            (None, _) => checking("reader", &item_type(&field.kind)),
            (_, "true") => checking("reader", &optional_type(field)),
            (_, may) => {
                let checks = [optional_type(field), item_type(&field.kind)];
                let [nullable, present] = checks.map(|checked| checking("reader", &checked));
                format!("if {may} {{ {nullable} }} else {{ {present} }}")
            }
        };
        body += &match presence(field, part) {
            None => format!("            {check};\n"),
            Some(present) => format!("            if {present} {{ {check} }}\n"),
        };
    }
    emit_tags(&mut body, part, |field| checking("body", &optional_type(field)));
    body += "            Ok(())\n";
    emit_function(out, "check", "()", &body);
}

fn emit_function(out: &mut String, name: &str, yields: &str, body: &str) {
    *out += &format!("        #[inline]\n        fn {name}(reader: &mut Reader<'a>) ");
    *out += &format!("-> Result<{yields}, WireError> {{\n");
    if asks_for_version(body) {
        *out += "            let version = reader.version();\n";
    }
    *out += body;
    *out += "        }\n";
}

fn checking(reader: &str, checked: &str) -> String {
    format!("{reader}.check::<{checked}>()?")
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

/// Reads the tagged section, doing `known` with the fields that the schema has.
fn emit_tags(out: &mut String, part: &Struct, known: impl Fn(&Field) -> String) {
    if part.tagged().next().is_none() {
        *out += "            reader.skip_tags()?;\n";
        return;
    }
    *out += "            let mut tags = reader.tags()?;\n";
    *out += "            while let Some((tag, mut body)) = tags.next(reader)? {\n";
    *out += "                match tag {\n";
    for (tag, field) in part.tagged() {
        let guard = presence(field, part).map_or_else(String::new, |when| format!(" if {when}"));
        *out += &format!("                    {tag}{guard} => {},\n", known(field));
    }
    *out += "                    _ => {}\n                }\n            }\n";
}
