//! `ApiKey` with its tables, and the enums over all messages.

use super::{snake_case, structs};
use crate::schema::{Api, Struct};

pub(crate) fn emit(out: &mut String, apis: &[Api]) {
    emit_enum(out, apis);
    emit_tables(out, apis);
    emit_messages(out, "Request", apis, |api| &api.request);
    emit_messages(out, "Response", apis, |api| &api.response);
}

fn emit_enum(out: &mut String, apis: &[Api]) {
    *out += "/// An API that this crate has codecs for.\n";
    *out += "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n";
    *out += "#[repr(i16)]\npub enum ApiKey {\n";
    for api in apis {
        *out += &format!("    /// {}\n    {} = {},\n", api.doc, api.name, api.key);
    }
    *out += "}\n\n";
}

fn emit_tables(out: &mut String, apis: &[Api]) {
    *out += "impl ApiKey {\n    /// Every key, ascending.\n";
    let all: Vec<_> = apis.iter().map(|api| format!("Self::{}", api.name)).collect();
    *out += &format!("    pub const ALL: [Self; {}] = [{}];\n\n", apis.len(), all.join(", "));
    let table = |signature: &str, doc: &str, fallback: &str, arm: &dyn Fn(&Api) -> String| {
        let arms: String = apis.iter().map(|api| format!("            {},\n", arm(api))).collect();
        let scrutinee = if fallback.is_empty() { "self" } else { "code" };
        format!(
            "    /// {doc}\n    #[must_use]\n    pub const fn {signature} {{\n        \
             match {scrutinee} {{\n{arms}{fallback}        }}\n    }}\n\n"
        )
    };
    *out += &table(
        "from_code(code: i16) -> Option<Self>",
        "The API with this key, if we know it.",
        "            _ => None,\n",
        &|api| format!("{} => Some(Self::{})", api.key, api.name),
    );
    *out += &table("name(self) -> &'static str", "Kafka's name for it.", "", &|api| {
        format!("Self::{0} => \"{0}\"", api.name)
    });
    *out += &table(
        "versions(self) -> VersionRange",
        "The versions that can be decoded and encoded.",
        "",
        &|api| format!("Self::{} => {}", api.name, range(api.versions)),
    );
    *out += &table(
        "flexible_from(self) -> i16",
        "The first version with compact lengths and tagged fields.",
        "",
        &|api| format!("Self::{} => {}", api.name, api.flexible),
    );
    *out += &table(
        "advertised(self) -> Option<VersionRange>",
        "What ApiVersions answers for it, if it is listed.",
        "",
        &|api| {
            let range = api
                .advertised
                .map_or_else(|| "None".to_owned(), |it| format!("Some({})", range(it)));
            format!("Self::{} => {range}", api.name)
        },
    );
    *out += "}\n\n";
}

fn range(versions: crate::schema::Versions) -> String {
    format!("VersionRange {{ min: {}, max: {} }}", versions.min, versions.max)
}

fn emit_messages(out: &mut String, name: &str, apis: &[Api], pick: fn(&Api) -> &Struct) {
    *out += &format!(
        "/// Any decoded {}.\n#[derive(Clone, Copy, Debug, PartialEq)]\n",
        name.to_lowercase()
    );
    *out += &format!("pub enum {name}<'a> {{\n");
    for api in apis {
        let view = structs::view(pick(api));
        *out += &format!("    {}({}::{view}),\n", api.name, snake_case(&api.name));
    }
    *out += &format!("}}\n\nimpl<'a> {name}<'a> {{\n");
    *out += "    pub(crate) fn decode_body(api: ApiKey, reader: &mut Reader<'a>) -> Result<Self, WireError> {\n";
    *out += "        Ok(match api {\n";
    for api in apis {
        *out += &format!("            ApiKey::{0} => Self::{0}(reader.take()?),\n", api.name);
    }
    *out += "        })\n    }\n\n    /// Which API it belongs to.\n    #[must_use]\n";
    *out += "    pub fn api(&self) -> ApiKey {\n        match self {\n";
    for api in apis {
        *out += &format!("            Self::{0}(_) => ApiKey::{0},\n", api.name);
    }
    *out += "        }\n    }\n\n    pub(crate) fn encode_body(self, writer: &mut Writer<'_>) {\n        match self {\n";
    for api in apis {
        *out += &format!("            Self::{}(body) => writer.put(body),\n", api.name);
    }
    *out += "        }\n    }\n}\n\n";
}
