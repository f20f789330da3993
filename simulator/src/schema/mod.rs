//! Objects and their fields: what describe tells and what writes are checked against.

pub(crate) mod describe;
pub(crate) mod standard;

use serde::{Deserialize, Serialize};

/// The vendor's field types that occur in this org, with what only that type needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    Id,
    Boolean,
    /// Text up to `length` characters.
    String {
        length: u32,
    },
    /// Long text, up to `length` characters; not filterable in SOQL, as on the vendor's side.
    TextArea {
        length: u32,
    },
    Picklist {
        values: Vec<String>,
    },
    Int,
    Double {
        scale: u8,
    },
    Currency,
    Percent,
    Date,
    DateTime,
    Email,
    Phone,
    Url,
    /// The id of a record of one of these objects; `relationship` is its name in SOQL paths.
    Reference {
        to: Vec<String>,
        relationship: String,
    },
    /// A compound of the fields `{prefix}Street`, `{prefix}City`, ...; never stored, never in Bulk.
    Address,
}

impl FieldKind {
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double { .. } | Self::Currency | Self::Percent)
    }

    /// The longest value in characters, where the type has one.
    pub fn max_length(&self) -> Option<u32> {
        match self {
            Self::Id | Self::Reference { .. } => Some(18),
            Self::String { length } | Self::TextArea { length } => Some(*length),
            Self::Picklist { .. } | Self::Url => Some(255),
            Self::Email => Some(80),
            Self::Phone => Some(40),
            _ => None,
        }
    }
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The n-th cell of the stored row; assigned by [`ObjectDef::new`].
    Cell(usize),
    /// First and last name, joined.
    FullName,
    /// The address fields that start with this prefix (`Billing`, `Mailing`, or nothing).
    Address(String),
}

/// One field of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDef {
    pub name: String,
    pub label: String,
    pub kind: FieldKind,
    pub source: Source,
    /// Must have a value on insert.
    pub required: bool,
    pub writable: bool,
    pub custom: bool,
    /// Unique and usable as the key of an upsert.
    pub external_id: bool,
    /// The compound field that this one is a part of.
    pub compound: Option<String>,
}

impl FieldDef {
    pub fn new(name: &str, label: &str, kind: FieldKind) -> Self {
        let custom = name.ends_with("__c");
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            kind,
            source: Source::Cell(0),
            required: false,
            writable: true,
            custom,
            external_id: false,
            compound: None,
        }
    }

    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub fn read_only(mut self) -> Self {
        self.writable = false;
        self
    }

    pub fn external_id(mut self) -> Self {
        self.external_id = true;
        self
    }

    pub fn part_of(mut self, compound: &str) -> Self {
        self.compound = Some(compound.to_owned());
        self
    }

    pub fn computed(mut self, source: Source) -> Self {
        self.source = source;
        self.read_only()
    }

    pub fn cell(&self) -> Option<usize> {
        match self.source {
            Source::Cell(index) => Some(index),
            Source::FullName | Source::Address(_) => None,
        }
    }
}

/// One object: its fields in describe order, system fields first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDef {
    pub name: String,
    pub label: String,
    pub label_plural: String,
    pub key_prefix: String,
    pub fields: Vec<FieldDef>,
    /// How many cells a stored row has.
    pub width: usize,
}

impl ObjectDef {
    /// Puts the system fields first and assigns the cells.
    pub fn new(name: &str, label: &str, label_plural: &str, key_prefix: &str, own_fields: Vec<FieldDef>) -> Self {
        let mut fields = standard::system_fields();
        fields.extend(own_fields);
        let mut width = 0;
        for field in &mut fields {
            if let Source::Cell(index) = &mut field.source {
                *index = width;
                width += 1;
            }
        }
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            label_plural: label_plural.to_owned(),
            key_prefix: key_prefix.to_owned(),
            fields,
            width,
        }
    }

    /// Field names are compared without case, as SOQL and the vendor's JSON do.
    pub fn field(&self, name: &str) -> Option<&FieldDef> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The cell of a stored field that the object is known to have.
    pub fn cell_of(&self, name: &str) -> Option<usize> {
        self.field(name).and_then(FieldDef::cell)
    }

    pub fn relationship(&self, name: &str) -> Option<(&FieldDef, &[String])> {
        self.fields.iter().find_map(|field| match &field.kind {
            FieldKind::Reference { to, relationship } if relationship.eq_ignore_ascii_case(name) => Some((field, to.as_slice())),
            _ => None,
        })
    }

    pub fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }
}
