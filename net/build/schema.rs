//! What a schema file says, as data.

/// One Kafka API: its key, the versions we speak, and both of its messages.
#[derive(Debug)]
pub(crate) struct Api {
    /// In camel case, as Kafka names it.
    pub(crate) name: String,
    pub(crate) key: i16,
    pub(crate) doc: String,
    pub(crate) versions: Versions,
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible: i16,
    /// What ApiVersions answers, if it lists this API at all.
    pub(crate) advertised: Option<Versions>,
    pub(crate) request: Struct,
    pub(crate) response: Struct,
}

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// A message or a part of one.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) versions: Versions,
    /// The versions in which the field may be null.
    pub(crate) nullable: Option<Versions>,
    /// Set if the field travels in the tagged section.
    pub(crate) tag: Option<u32>,
    /// What it is in versions without it, if not zero or empty.
    pub(crate) default: Option<String>,
    pub(crate) doc: String,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Uuid,
    String,
    /// Bytes that only the peers understand.
    Bytes,
    /// Record batches, which may travel outside the message's own bytes.
    Records,
    /// An error code.
    Error,
    Struct(Struct),
    Array(Box<Self>),
}

impl Versions {
    /// The versions in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    pub(crate) fn covers(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }
}

impl Struct {
    /// Every struct below this one, outermost first.
    pub(crate) fn nested(&self) -> Vec<&Self> {
        let mut found = Vec::new();
        for field in &self.fields {
            if let Some(inner) = field.kind.inner_struct() {
                found.push(inner);
                found.extend(inner.nested());
            }
        }
        found
    }

    pub(crate) fn arrays(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| matches!(field.kind, Kind::Array(_)))
    }

    pub(crate) fn tagged(&self) -> impl Iterator<Item = (u32, &Field)> {
        self.fields.iter().filter_map(|field| Some((field.tag?, field)))
    }

    /// Fields outside the tagged section.
    pub(crate) fn plain(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.tag.is_none())
    }
}

impl Kind {
    pub(crate) fn inner_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(inner) => Some(inner),
            Self::Array(items) => items.inner_struct(),
            _ => None,
        }
    }
}
