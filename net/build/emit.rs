//! Writes Rust for the parsed schemas.

mod decode;
mod encode;
mod keys;
mod structs;

use crate::schema::{Api, Field, Struct, Versions};

/// The whole of `api.rs`.
pub(crate) fn module(apis: &[Api]) -> String {
    let mut out = String::from("// Generated from net/schema by net/build.\n\n");
    keys::emit(&mut out, apis);
    for api in apis {
        emit_api(&mut out, api);
    }
    out
}

fn emit_api(out: &mut String, api: &Api) {
    let Versions { min, max } = api.versions;
    *out += &format!("/// {} Versions {min}–{max} of API {}.\n", api.doc, api.key);
    *out += &format!("pub mod {} {{\n    use super::prelude::*;\n\n", snake_case(&api.name));
    for message in [&api.request, &api.response] {
        for part in std::iter::once(message).chain(message.nested()) {
            structs::emit(out, part);
            decode::emit(out, part);
            encode::emit(out, part);
        }
    }
    emit_body(out, &api.name, &api.request, "type Response<'r> = ", &structs::view(&api.response));
    emit_body(out, &api.name, &api.response, "", "");
    *out += "}\n\n";
}

/// Ties a message to its API, and a request to its response.
fn emit_body(out: &mut String, api: &str, message: &Struct, relation: &str, other: &str) {
    let (generics, name, kinds) = encode::header(message);
    let body = format!("{}Body", message.name);
    let other = other.replace("'a", "'r");
    *out += &format!("    impl{generics} {body} for {name}{kinds} {{\n");
    *out += &format!("        const API: ApiKey = ApiKey::{api};\n");
    if !relation.is_empty() {
        *out += &format!("        {relation}{other};\n");
    }
    *out += "    }\n\n";
}

/// The condition under which `field` is in a message of version `version`, unless it always is.
fn presence(field: &Field, part: &Struct) -> Option<String> {
    condition(field.versions, part.versions)
}

/// When `field`, being present, may be null: a Rust condition, `true` or `false`.
fn may_be_null(field: &Field) -> String {
    match field.nullable {
        None => "false".to_owned(),
        Some(range) => condition(range, field.versions).unwrap_or_else(|| "true".to_owned()),
    }
}

fn condition(range: Versions, within: Versions) -> Option<String> {
    let Versions { min, max } = range;
    match (min <= within.min, within.max <= max) {
        (true, true) => None,
        (false, true) => Some(format!("{min} <= version")),
        (true, false) => Some(format!("version <= {max}")),
        (false, false) => Some(format!("({min}..={max}).contains(&version)")),
    }
}

/// Whether `code` has a condition in it.
fn asks_for_version(code: &str) -> bool {
    ["<= version", "version <=", "&version"].iter().any(|asking| code.contains(asking))
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn camel_case(snake: &str) -> String {
    snake.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
