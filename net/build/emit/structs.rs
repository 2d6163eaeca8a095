//! The struct of a message part, its view alias, its default.
//!
//! An array is a type parameter, so that one struct serves both directions: decoding fills it with
//! a lazy `Array`, a sender with anything that is a `List`.

use super::{camel_case, condition};
use crate::schema::{Field, Kind, Struct};

pub(crate) fn emit(out: &mut String, part: &Struct) {
    let (name, generics) = (&part.name, generics(part));
    *out += &format!("    /// Versions {}–{}.\n", part.versions.min, part.versions.max);
    *out += "    #[derive(Clone, Copy, Debug, PartialEq)]\n";
    *out += &format!("    pub struct {name}{generics} {{\n");
    for field in &part.fields {
        emit_doc(out, field, part);
        *out += &format!("        pub {}: {},\n", field.name, field_type(field));
    }
    *out += "    }\n\n";
    if part.arrays().next().is_some() {
        *out += &format!("    /// A decoded [`{name}`].\n");
        *out += &format!("    pub type {name}View<'a> = {};\n\n", view_spelled_out(part));
    }
    emit_default(out, part);
}

fn emit_doc(out: &mut String, field: &Field, part: &Struct) {
    if !field.doc.is_empty() {
        *out += &format!("        /// {}\n", field.doc);
    }
    if condition(field.versions, part.versions).is_some() {
        let (min, max) = (field.versions.min, field.versions.max);
        let gap = if field.doc.is_empty() { "" } else { "        ///\n" };
        *out += &format!("{gap}        /// Versions {min}–{max}.\n");
    }
}

fn emit_default(out: &mut String, part: &Struct) {
    let name = view(part).replace("'a", "'_");
    *out += &format!("    impl Default for {name} {{\n        fn default() -> Self {{\n");
    *out += "            Self {\n";
    for field in &part.fields {
        *out += &format!("                {}: {},\n", field.name, default_value(field));
    }
    *out += "            }\n        }\n    }\n\n";
}

/// What a field is in a version that lacks it.
pub(crate) fn default_value(field: &Field) -> String {
    if let Some(literal) = &field.default {
        return match (literal.as_str(), field.nullable) {
            ("null", _) => "None".to_owned(),
            (value, Some(_)) => format!("Some({value})"),
            (value, None) => value.to_owned(),
        };
    }
    let value = match &field.kind {
        Kind::Bool => "false",
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => "0",
        Kind::Uuid => "Uuid::ZERO",
        Kind::String => "\"\"",
        Kind::Bytes => "&[]",
        Kind::Records => "Records::EMPTY",
        Kind::Error => "ErrorCode::None",
        Kind::Array(_) => "Array::empty()",
        Kind::Struct(inner) => return format!("{}::default()", inner.name),
    };
    if field.nullable.is_some() { format!("Some({value})") } else { value.to_owned() }
}

/// `<'a, TopicsList>` as a declaration.
fn generics(part: &Struct) -> String {
    let lifetime = borrows(part).then(|| "'a".to_owned());
    bracketed(lifetime.into_iter().chain(part.arrays().map(list_parameter)))
}

/// `<'_, TopicsList>` and the like: `lifetime`, then one argument per array.
pub(crate) fn arguments(part: &Struct, lifetime: &str, array: impl Fn(&Field) -> String) -> String {
    let lifetime = borrows(part).then(|| lifetime.to_owned());
    bracketed(lifetime.into_iter().chain(part.arrays().map(array)))
}

fn bracketed(arguments: impl Iterator<Item = String>) -> String {
    let arguments: Vec<_> = arguments.collect();
    if arguments.is_empty() { String::new() } else { format!("<{}>", arguments.join(", ")) }
}

pub(crate) fn list_parameter(field: &Field) -> String {
    camel_case(&field.name) + "List"
}

/// Whether the struct borrows apart from its arrays, which are parameters.
fn borrows(part: &Struct) -> bool {
    part.fields.iter().any(|field| match &field.kind {
        Kind::String | Kind::Bytes | Kind::Records => true,
        Kind::Struct(inner) => borrows(inner),
        _ => false,
    })
}

fn field_type(field: &Field) -> String {
    let bare = match &field.kind {
        Kind::Array(_) => return list_parameter(field),
        Kind::Struct(inner) => {
            assert!(inner.arrays().next().is_none(), "{}: arrays in a lone struct", inner.name);
            inner.name.clone() + if borrows(inner) { "<'a>" } else { "" }
        }
        other => item_type(other),
    };
    optional(field, bare)
}

fn optional(field: &Field, bare: String) -> String {
    if field.nullable.is_some() { format!("Option<{bare}>") } else { bare }
}

/// The type of a value as a decoder yields it.
pub(crate) fn item_type(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".to_owned(),
        Kind::I8 => "i8".to_owned(),
        Kind::I16 => "i16".to_owned(),
        Kind::I32 => "i32".to_owned(),
        Kind::I64 => "i64".to_owned(),
        Kind::Uuid => "Uuid".to_owned(),
        Kind::String => "&'a str".to_owned(),
        Kind::Bytes => "&'a [u8]".to_owned(),
        Kind::Records => "Records<'a>".to_owned(),
        Kind::Error => "ErrorCode".to_owned(),
        Kind::Struct(inner) => view(inner),
        Kind::Array(items) => format!("Array<'a, {}>", item_type(items)),
    }
}

/// The type of a field as a decoder yields it.
pub(crate) fn optional_type(field: &Field) -> String {
    optional(field, item_type(&field.kind))
}

/// The decoded form of a struct, by its short name.
pub(crate) fn view(part: &Struct) -> String {
    match (part.arrays().next().is_some(), borrows(part)) {
        (true, _) => format!("{}View<'a>", part.name),
        (false, true) => format!("{}<'a>", part.name),
        (false, false) => part.name.clone(),
    }
}

fn view_spelled_out(part: &Struct) -> String {
    format!("{}{}", part.name, arguments(part, "'a", optional_type))
}
