//! Reads the schema language.
//!
//! ```text
//! # What the API is for.
//! api Produce 0                      name and key
//! versions 3-12 flexible 9+          what we speak
//! advertised 0-12                    what ApiVersions says, or `advertised never`
//!
//! request
//!     acks      i16                  # Becomes the field's documentation.
//!     topics    [Topic]?1+           an array, null allowed from version 1
//!         name  string               fields of Topic, four spaces deeper
//!         id    uuid      10+        a field of versions 10 and later
//!     host      string?   tag 0 = null
//! response
//!     …
//! ```
//! Types: bool, i8, i16, i32, i64, uuid, string, bytes, records, error, `[Type]`, or the name of a struct
//! whose fields follow. Without `= …` a field's default is zero, empty or not null.

use std::collections::BTreeSet;
use std::iter;

use crate::schema::{Api, Field, Kind, Struct, Versions};

const INDENT: usize = 4;

struct Line<'t> {
    number: usize,
    indent: usize,
    words: Vec<&'t str>,
    doc: &'t str,
}

struct Parser<'t> {
    file: &'t str,
    lines: Vec<Line<'t>>,
    next: usize,
}

/// The API that `text` describes, or a sentence with file and line.
pub(crate) fn api(file: &str, text: &str) -> Result<Api, String> {
    let mut parser = Parser { file, lines: lines(text), next: 0 };
    let api = parser.api(leading_comment(text))?;
    parser.expect_unique_names(&api)?;
    parser.expect_flexible_tags(&api)?;
    Ok(api)
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (code, doc) = line.split_once('#').unwrap_or((line, ""));
        let words: Vec<_> = code.split_whitespace().collect();
        let indent = code.len() - code.trim_start().len();
        if !words.is_empty() {
            lines.push(Line { number: index + 1, indent, words, doc: doc.trim() });
        }
    }
    lines
}

fn leading_comment(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    comment.map(str::trim).collect::<Vec<_>>().join(" ")
}

impl<'t> Parser<'t> {
    fn api(&mut self, doc: String) -> Result<Api, String> {
        let [name, key] = self.words("api")?[..] else {
            return Err(self.wrong("expected `api NAME KEY`"));
        };
        let (name, key) = (name.to_owned(), self.number(key)?);
        let [range, "flexible", flexible] = self.words("versions")?[..] else {
            return Err(self.wrong("expected `versions RANGE flexible FROM`"));
        };
        let (versions, flexible) = (self.range(range)?, self.range(flexible)?.min);
        let advertised = match self.words("advertised") {
            Ok(words) if words == ["never"] => None,
            Ok(words) => Some(self.range(words.first().copied().unwrap_or_default())?),
            Err(_) => Some(versions),
        };
        let request = self.message("request", versions)?;
        let response = self.message("response", versions)?;
        if self.next < self.lines.len() {
            return Err(self.wrong_next("expected the end of the file"));
        }
        Ok(Api { name, key, doc, versions, flexible, advertised, request, response })
    }

    fn message(&mut self, keyword: &str, versions: Versions) -> Result<Struct, String> {
        if !self.words(keyword)?.is_empty() {
            return Err(self.wrong("expected nothing behind it"));
        }
        let name = keyword[..1].to_uppercase() + &keyword[1..];
        Ok(Struct { name, versions, fields: self.fields(INDENT, versions)? })
    }

    fn fields(&mut self, indent: usize, within: Versions) -> Result<Vec<Field>, String> {
        let mut fields = Vec::new();
        while let Some(line) = self.lines.get(self.next) {
            if line.indent < indent {
                break;
            }
            if indent < line.indent {
                return Err(self.wrong_next(&format!("expected {indent} spaces")));
            }
            fields.push(self.field(within)?);
        }
        Ok(fields)
    }

    fn field(&mut self, within: Versions) -> Result<Field, String> {
        let Line { indent, doc, ref words, .. } = self.lines[self.next];
        let (words, doc) = (words.clone(), doc.to_owned());
        self.next += 1;
        let [name, kind, attributes @ ..] = &words[..] else {
            return Err(self.wrong("expected `NAME TYPE`"));
        };
        let (mut versions, mut tag, mut default) = (within, None, None);
        let mut attributes = attributes.iter();
        while let Some(&word) = attributes.next() {
            let operand = || self.wrong("something is missing at the end");
            match word {
                "tag" => tag = Some(self.number(attributes.next().ok_or_else(operand)?)?),
                "=" => default = Some((*attributes.next().ok_or_else(operand)?).to_owned()),
                range => versions = self.range(range)?.and(within),
            }
        }
        let (kind, nullable) = match kind.split_once('?') {
            None => (*kind, None),
            Some((kind, "")) => (kind, Some(versions)),
            Some((kind, range)) => (kind, Some(self.range(range)?.and(versions))),
        };
        let kind = self.kind(kind, indent + INDENT, versions)?;
        Ok(Field { name: (*name).to_owned(), kind, versions, nullable, tag, default, doc })
    }

    fn kind(&mut self, word: &str, indent: usize, versions: Versions) -> Result<Kind, String> {
        if let Some(items) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            return Ok(Kind::Array(Box::new(self.kind(items, indent, versions)?)));
        }
        Ok(match word {
            "bool" => Kind::Bool,
            "i8" => Kind::I8,
            "i16" => Kind::I16,
            "i32" => Kind::I32,
            "i64" => Kind::I64,
            "uuid" => Kind::Uuid,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            "error" => Kind::Error,
            name if name.starts_with(char::is_uppercase) => {
                let fields = self.fields(indent, versions)?;
                if fields.is_empty() {
                    return Err(self.wrong("a struct without fields"));
                }
                Kind::Struct(Struct { name: name.to_owned(), versions, fields })
            }
            _ => return Err(self.wrong(&format!("unknown type `{word}`"))),
        })
    }

    /// What stands behind `keyword` on the next line.
    fn words(&mut self, keyword: &str) -> Result<Vec<&'t str>, String> {
        let line = self.lines.get(self.next).filter(|line| line.words[0] == keyword);
        let line = line.ok_or_else(|| self.wrong_next(&format!("expected `{keyword}`")))?;
        self.next += 1;
        Ok(line.words[1..].to_vec())
    }

    /// `3` (only 3), `3-12` or `3+`.
    fn range(&self, word: &str) -> Result<Versions, String> {
        if let Some(min) = word.strip_suffix('+') {
            return Ok(Versions { min: self.number(min)?, max: i16::MAX });
        }
        let (min, max) = word.split_once('-').unwrap_or((word, word));
        Ok(Versions { min: self.number(min)?, max: self.number(max)? })
    }

    fn number<N: std::str::FromStr>(&self, word: &str) -> Result<N, String> {
        word.parse().map_err(|_| self.wrong(&format!("`{word}` is no number here")))
    }

    /// Structs of one API share a module.
    fn expect_unique_names(&self, api: &Api) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for part in [&api.request, &api.response].into_iter().flat_map(Struct::nested) {
            if !names.insert(&part.name) {
                return Err(format!("{}: two structs are named {}", self.file, part.name));
            }
        }
        Ok(())
    }

    /// Only flexible versions have a tagged section.
    fn expect_flexible_tags(&self, api: &Api) -> Result<(), String> {
        let messages = [&api.request, &api.response].into_iter();
        for part in messages.flat_map(|message| iter::once(message).chain(message.nested())) {
            for (_, field) in part.tagged() {
                if field.versions.min < api.flexible {
                    return Err(format!("{}: {} is tagged too early", self.file, field.name));
                }
            }
        }
        Ok(())
    }

    /// A complaint about the line just read.
    fn wrong(&self, sentence: &str) -> String {
        let number = self.next.checked_sub(1).map_or(0, |last| self.lines[last].number);
        format!("{}:{number}: {sentence}", self.file)
    }

    /// A complaint about the line not read yet.
    fn wrong_next(&self, sentence: &str) -> String {
        let number = self.lines.get(self.next).map_or(0, |line| line.number);
        format!("{}:{number}: {sentence}", self.file)
    }
}
