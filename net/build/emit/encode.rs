//! `impl Encode`: plain fields in wire order, then the tagged fields that differ from their default.

use super::structs::{arguments, default_value, list_parameter};
use super::{asks_for_version, may_be_null, presence};
use crate::schema::{Field, Kind, Struct};

pub(crate) fn emit(out: &mut String, part: &Struct) {
    let (generics, name, list) = header(part);
    *out += &format!("    impl{generics} Encode for {name}{list} {{\n");
    let erased = arguments(part, "'static", |_| "()".to_owned());
    *out += &format!("        type Kind = {name}{erased};\n\n        #[inline]\n");
    *out += "        fn encode(self, writer: &mut Writer<'_>) {\n";
    let mut body = String::new();
    for field in part.plain() {
        let write = statement(field);
        match presence(field, part) {
            None => body += &format!("            {write}\n"),
            Some(present) => {
                body += &format!("            if {present} {{\n                {write}\n");
                body += "            }\n";
            }
        }
    }
    emit_tags(&mut body, part);
    if asks_for_version(&body) {
        *out += "            let version = writer.version();\n";
    }
    *out += &body;
    *out += "        }\n    }\n\n";
}

/// `<TopicsList: List<Topic<'static, ()>>>`, the struct's name, `<'_, TopicsList>`.
pub(crate) fn header(part: &Struct) -> (String, &str, String) {
    let bounds: Vec<_> = part
        .arrays()
        .map(|field| format!("{}: List<{}>", list_parameter(field), list_kind(&field.kind)))
        .collect();
    let generics =
        if bounds.is_empty() { String::new() } else { format!("<{}>", bounds.join(", ")) };
    (generics, &part.name, arguments(part, "'_", list_parameter))
}

/// What the elements of an array are, whatever they borrow and hold.
fn list_kind(kind: &Kind) -> String {
    let Kind::Array(items) = kind else { unreachable!("asked for arrays only") };
    match &**items {
        Kind::String => "str".to_owned(),
        Kind::Struct(inner) => {
            format!("{}{}", inner.name, arguments(inner, "'static", |_| "()".to_owned()))
        }
        plain => super::structs::item_type(plain),
    }
}

fn statement(field: &Field) -> String {
    let (name, may) = (&field.name, may_be_null(field));
    match (&field.kind, field.nullable, may.as_str()) {
        (Kind::Array(_), ..) => format!("writer.list(self.{name}, {may});"),
        (_, None, _) | (_, _, "true") => format!("writer.put(self.{name});"),
        _ => format!("writer.put_nullable(self.{name}, {may});"),
    }
}

fn emit_tags(out: &mut String, part: &Struct) {
    if part.tagged().next().is_none() {
        *out += "            writer.no_tags();\n";
        return;
    }
    let mut counts = Vec::new();
    for (tag, field) in part.tagged() {
        let differs = match field.kind {
            Kind::Array(_) => format!("self.{}.count() != Some(0)", field.name),
            _ => format!("self.{} != {}", field.name, default_value(field)),
        };
        let present = presence(field, part).map_or_else(String::new, |when| format!("{when} && "));
        *out += &format!("            let has_{tag} = {present}{differs};\n");
        counts.push(format!("u32::from(has_{tag})"));
    }
    *out += &format!("            writer.tag_count({});\n", counts.join(" + "));
    for (tag, field) in part.tagged() {
        let write = statement(field);
        let write = write.trim_end_matches(';');
        *out += &format!("            if has_{tag} {{\n");
        *out += &format!("                writer.tagged({tag}, |writer| {write});\n");
        *out += "            }\n";
    }
}
